//! All integration tests of Munim in one binary: linking it once is cheaper than once per file.

mod caching;
mod concurrency;
mod described;
mod domain_books;
mod domain_effects;
mod domain_model;
mod domain_refusals;
mod engine;
mod fair_share;
mod fire;
mod formats;
mod http_contract;
mod http_edge;
mod identity;
mod kill9;
mod loan_vectors;
mod metrics;
mod naive_books;
mod owasp;
mod past;
mod revealed;
mod routes;
mod sockets;
mod tidy;
mod verify_command;
mod worker_disk;
