//! Replies of a simulated VIM.

use std::io;

use super::client::{Failure, Refusal, Reply};
use super::transmitter::{Done, Job, conclude};

/// What a simulated VIM replies.
pub(crate) enum SimulatedReply {
    Success(Vec<u8>),
    Silence,
    Failed,
    Away,
}

impl SimulatedReply {
    /// What it means for the job.
    pub(crate) fn conclude(self, job: Job) -> Done {
        conclude(
            job,
            match self {
                Self::Success(body) => Ok(Reply::Success(Ok(body))),
                Self::Silence => Ok(Reply::Silence),
                Self::Failed => Err(Failure::Server(Refusal { status: 500, text: String::new() })),
                Self::Away => Err(Failure::Connect(io::ErrorKind::ConnectionRefused.into())),
            },
        )
    }
}
