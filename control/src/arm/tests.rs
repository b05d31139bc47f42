//! The API without a network: a desk in front of resources that are compiled and never published.

mod families;
mod hostile;
mod life;
mod parts;
mod peering;
mod rules;
mod support;
