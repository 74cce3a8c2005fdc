//! What is counted, and how it is shown to a monitoring system.
//!
//! | module | what it is |
//! |---|---|
//! | [`counter`], [`histogram`] | what is counted: atomics, so that counting neither waits nor allocates |
//! | [`exposition`] | the text format, OpenMetrics 1.0, and what a family of metrics is |
//! | [`process`] | what the kernel knows of this process |
//! | [`settings`] | the INI section `[metrics]` |
//! | [`exporter`] | the main loop's side: who asks, and the text, rendered in pieces (feature `exporter`) |
//! | [`endpoint`] | the HTTP side, with every limit (feature `exporter`) |
//! | [`page`] | the reference in docs/metrics.md, made from the families |

pub mod counter;
#[cfg(feature = "exporter")]
pub mod endpoint;
#[cfg(feature = "exporter")]
pub mod exporter;
pub mod exposition;
pub mod histogram;
pub mod page;
pub mod process;
pub mod settings;

pub use counter::{Counter, Table};
#[cfg(feature = "exporter")]
pub use exporter::{Exporter, Source};
pub use exposition::{Exposition, Family, Kind, Rows, Samples, Value};
pub use histogram::Histogram;
pub use settings::MetricsSettings;
