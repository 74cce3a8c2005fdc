//! The guest's side, row by row and at random.

mod actions;
mod harness;
mod properties;
mod simulation;
mod table;
