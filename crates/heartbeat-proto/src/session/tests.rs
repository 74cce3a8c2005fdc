//! The rules of docs/protocol.md, each as a test whose name is the sentence that it checks; then
//! random inputs against what must always hold, and whole lives of guests on a virtual clock.

mod bounds;
mod connection;
mod harness;
mod heartbeat;
mod messages;
mod notifications;
mod properties;
mod simulation;
mod timing;
mod votes;
