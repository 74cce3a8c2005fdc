//! The target `datagram` as a program.

#![cfg_attr(fuzzing, no_main)]

fuzz::program!(datagram);
