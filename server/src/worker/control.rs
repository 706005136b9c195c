//! Commands from other threads to a worker: one octet of a ring message.

/// A command to a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Control {
    /// Finish what is in flight, then end.
    Drain = 1,
    /// End now.
    Stop = 2,
    /// Print what you are doing.
    Report = 3,
    /// Take the orders that wait for you.
    Orders = 4,
}

impl Control {
    pub(crate) fn from_aux(aux: u8) -> Option<Self> {
        [Self::Drain, Self::Stop, Self::Report, Self::Orders]
            .into_iter()
            .find(|control| *control as u8 == aux)
    }
}
