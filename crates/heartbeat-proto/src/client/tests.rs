//! The guest's side, row by row and at random.

mod harness;
mod table;
