//! Makes choices of the bytes that an engine draws.

use std::time::Duration;

/// Bytes that are used up from the front. At their end everything is zero.
pub(crate) struct Bytes<'a>(pub(crate) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn u8(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or_default()
    }

    pub(crate) fn flag(&mut self) -> bool {
        self.u8() & 1 == 1
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_le_bytes([self.u8(), self.u8()])
    }

    pub(crate) fn u32(&mut self) -> u32 {
        u32::from(self.u16()) | u32::from(self.u16()) << 16
    }

    pub(crate) fn u64(&mut self) -> u64 {
        u64::from(self.u32()) | u64::from(self.u32()) << 32
    }

    /// A number that is mostly small, and now and then any.
    pub(crate) fn mostly_small(&mut self) -> u64 {
        match self.u8() {
            0xff => self.u64(),
            0xfe => u64::MAX,
            0xf0..=0xfd => self.u32().into(),
            high => u64::from(high) << 8 | u64::from(self.u8()),
        }
    }

    /// A time of up to 49 days, so that the clock does not come to its end after 584 years.
    pub(crate) fn time(&mut self) -> Duration {
        Duration::from_millis(self.mostly_small().min(u32::MAX.into()))
    }

    /// One of several; there has to be one.
    pub(crate) fn one_of<T: Clone>(&mut self, all: &[T]) -> T {
        all[usize::from(self.u8()) % all.len()].clone()
    }

    /// As many as are there.
    pub(crate) fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Some bytes that are marked by their length.
    pub(crate) fn some(&mut self) -> &'a [u8] {
        let length = self.u16();
        self.take(length.into())
    }
}

/// Cuts a stream into pieces where the first bytes of it say: half of the data says where, the rest
/// is the stream.
pub(crate) fn pieces(data: &[u8]) -> (&[u8], Vec<&[u8]>) {
    let mut data = Bytes(data);
    let cuts = usize::from(data.u8() % 32);
    let mut lengths = Bytes(data.take(2 * cuts));
    let whole = data.0;
    let mut pieces: Vec<&[u8]> = Vec::new();
    for _ in 0..cuts {
        // Short pieces are the ones that cut where it hurts.
        let length = match lengths.u16() {
            long @ 0x8000.. => long & 0x1fff,
            short => short & 0x3f,
        };
        pieces.push(data.take(length.into()));
    }
    pieces.push(data.0);
    (whole, pieces)
}
