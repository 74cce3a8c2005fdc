//! guestAgent: what it is measured with, and in which situations.
//!
//! Here the neighbours of the daemon are many and busy. They live on a thread of their own, which
//! comes after the requests whose answers are timed: see [`site`].
//!
//! | file | what |
//! |---|---|
//! | `crowd`, `hang`, `silence` | one scenario each |
//! | `site` | a VIM, an mtcAgent, a fleet, and the daemon started beside them |
//! | `fleet` | a thousand guestServers in one thread |
//! | `story` | what happens to instances while the VIM hangs, and what it has to be told of it |
//! | `load` | HTTP requests at planned times, or as fast as they go |

pub(super) mod crowd;
mod fleet;
pub(super) mod hang;
mod load;
pub(super) mod silence;
mod site;
mod story;
