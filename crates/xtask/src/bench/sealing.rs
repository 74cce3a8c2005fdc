//! What the keys cost: sealing a datagram, and looking at its seal.

use std::hint::black_box;
use std::time::Instant;

use anyhow::{Result, ensure};
use heartbeat_proto::control::{
    Datagram, Guard, Keyring, Length, Numbering, REVISION, SecurityMode, Signature, code,
};

use super::Setup;
use super::figure::{Figure, Unit, median};

/// Datagrams that are timed together, so that the clock does not count.
const BATCH: u32 = 200;

/// On the daemons' core, in this process: the code is theirs.
pub(super) fn measure(setup: &Setup) -> Result<Vec<Figure>> {
    let batches = setup.pick(500, 200);
    setup.cores.on_daemons(|| sealing(batches))?
}

fn sealing(batches: u32) -> Result<Vec<Figure>> {
    let guard = Guard::new(SecurityMode::Required, Some(Keyring::generate([1; 32], [2; 32])));
    let numbering = Numbering { revision: REVISION, epoch: 1, number: 1 };
    let event = Datagram {
        numbering,
        ..Datagram::plain(Signature::None, code::LOSS, r#"{"hostname":"compute-0","uuid":""}"#)
    };
    let mut bytes = Vec::new();
    event.encode(Length::Full, &mut bytes);
    let (mut sealed, mut checked) = (Vec::new(), Vec::new());
    for _ in 0..batches {
        sealed.push(each(|now| guard.seal(black_box(&mut bytes), now, Some("controller-0"))));
        let mut right = true;
        guard.seal(&mut bytes, 0, Some("controller-0"));
        checked.push(each(|now| {
            right &= guard.check(black_box(&bytes), now, "controller-0") == Ok(true);
        }));
        ensure!(right, "a seal that is right was refused");
    }
    let figure =
        |what, values: &[f64]| Figure::new(what, Unit::Micros, median(values)).at_most(10.0);
    Ok(vec![
        figure("to seal a datagram of 1,060 bytes, median of batches", &sealed),
        figure("to check one, median of batches", &checked),
    ])
}

/// Microseconds that each of a batch takes.
fn each(mut work: impl FnMut(u64)) -> f64 {
    let begin = Instant::now();
    for now in 0..BATCH {
        work(now.into());
    }
    begin.elapsed().as_secs_f64() * 1e6 / f64::from(BATCH)
}
