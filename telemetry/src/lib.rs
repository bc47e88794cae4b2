//! What operators look at from outside: an HTTP port, and metrics in the text format of Prometheus.
//!
//! [`http`] answers GET and HEAD, and knows nothing of what is asked for; [`Family`] declares a metric, [`Page`] writes a scrape,
//! [`Histogram`] counts times, [`process`] is what every program says of itself,
//! [`certificates`] of what it shows in TLS. A program declares its metrics with
//! [`families!`], and the page in `deploy/` that explains them is made from the same declarations.
//!
//! The text is written here and not by a library: a scrape of ten thousand topics is made in pieces, between which
//! the executor does other work, and the libraries that there are write a whole registry in one step.

pub mod certificates;
mod family;
mod histogram;
pub mod http;
mod page;
pub mod process;

pub use family::{Family, Kind, markdown};
pub use histogram::Histogram;
pub use page::{CONTENT_TYPE, Number, Page};
