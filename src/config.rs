//! Every limit with its unit and reason. Plain constants and structs; imported by all but `domain`.
