//! All integration tests of Munim in one binary: linking it once is cheaper than once per file.

mod caching;
mod concurrency;
mod domain_books;
mod domain_effects;
mod domain_model;
mod domain_refusals;
mod engine;
mod fire;
mod http_contract;
mod http_edge;
mod kill9;
mod metrics;
mod naive_books;
mod tidy;
