//! The rules of docs/protocol.md that the inventory decides, each as a test whose name is the
//! sentence that it checks; then random inputs against what must always hold, and the size that
//! has to be carried.

mod actions;
mod answers;
mod audit;
mod check;
mod events;
mod harness;
mod hosts;
mod instances;
mod maintenance;
mod properties;
mod reporting;
mod scale;
mod words;
