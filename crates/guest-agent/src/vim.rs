//! The way to the VIM: what it has to know, what it is asked, one request at a time.
//!
//! | module | what it is |
//! |---|---|
//! | [`dispatcher`] | pure: what waits, and which request is the next; owns the two queues |
//! | [`outbox`] | pure: events that the VIM does not have yet |
//! | [`questions`] | pure: questions that the VIM has not been asked yet |
//! | [`backoff`] | pure: how long to leave a VIM alone that is away |
//! | [`transmitter`] | the task that carries out one job after the other |
//! | [`client`], [`request`], [`answer`] | one request over one connection, its bytes, its answer's bytes |
//! | [`address`] | where the VIM is |
//!
//! The main loop owns the [`Dispatcher`] and never waits for the VIM: it gives a job to the
//! [`Transmitter`]'s task when [`Dispatcher::poll_job`] names one, goes on, and hands back what came
//! of it. The call order stands on [`Dispatcher`].
//!
//! The VIM's event server is one thread that closes the connection after each request, and closes
//! it without a byte where others say 204 (docs/protocol.md, "guestAgent and the VIM"). What that
//! means for a request is decided in one place, [`client::exchange`].

mod address;
mod answer;
mod backoff;
mod client;
mod dispatcher;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod outbox;
mod questions;
mod request;
#[cfg(feature = "simulation")]
mod simulation;
mod transmitter;

#[cfg(test)]
mod stand_in;

pub(crate) use address::VimAddress;
pub(crate) use dispatcher::{Dispatcher, Report};
pub(crate) use outbox::{CAPACITY, Pushed};
#[cfg(feature = "simulation")]
pub(crate) use simulation::SimulatedReply;
pub(crate) use transmitter::{Done, Job, Transmitter, VimAnswer};
