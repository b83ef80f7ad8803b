//! What the spool tells of itself.

use std::io;

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// What went wrong with the disk. None of it stops the sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SpoolError {
    /// A segment ends inside a record: it was being written when something crashed, or was cut.
    Torn,
    /// A checksum is wrong.
    Corrupt,
    /// A segment, or the folder, is gone.
    Missing,
    /// The disk cannot be read.
    Read,
    /// The disk is full, or a quota is.
    NoSpace,
    /// The folder may not be written.
    ReadOnly,
    /// The disk cannot be written, for another reason.
    Write,
    /// Another process has the folder.
    Taken,
    /// A delivered segment cannot be removed.
    Remove,
}

impl SpoolError {
    const ALL: [(Self, &'static str); 9] = [
        (Self::Torn, "torn"),
        (Self::Corrupt, "corrupt"),
        (Self::Missing, "missing"),
        (Self::Read, "read"),
        (Self::NoSpace, "no_space"),
        (Self::ReadOnly, "read_only"),
        (Self::Write, "write"),
        (Self::Taken, "taken"),
        (Self::Remove, "remove"),
    ];

    /// The name by which metrics count it.
    pub(super) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(error, _)| *error == self).map_or("write", |(_, name)| name)
    }

    /// What a failure to write is.
    pub(super) fn of_writing(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => Self::NoSpace,
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => Self::ReadOnly,
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::Missing,
            _ => Self::Write,
        }
    }
}

/// What became of the exchanges of an earlier boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recovered {
    /// The collector has them.
    Delivered,
    /// The collector refused them for good.
    Rejected,
    /// The disk did not give them back whole.
    Lost,
}

impl Recovered {
    const ALL: [(Self, &'static str); 3] =
        [(Self::Delivered, "delivered"), (Self::Rejected, "rejected"), (Self::Lost, "lost")];
}

/// The spool's metrics.
#[derive(Debug)]
pub(crate) struct SpoolCounts {
    errors: [IntCounter; SpoolError::ALL.len()],
    recovered: [IntCounter; Recovered::ALL.len()],
    pub(crate) bytes: IntGauge,
    pub(crate) segments: IntGauge,
}

impl SpoolCounts {
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let vector = |name: &str, help: &str, label: &str| {
            let vector = IntCounterVec::new(Opts::new(name, help), &[label])?;
            registry.register(Box::new(vector.clone()))?;
            Ok::<_, prometheus::Error>(vector)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let errors = vector(
            "driftline_sidecar_spool_errors_total",
            "What went wrong with the spool's disk, by reason; none of it stops the sidecar.",
            "reason",
        )?;
        let recovered = vector(
            "driftline_sidecar_spool_recovered_exchanges_total",
            "Exchanges that an earlier boot left in the spool, by what became of them.",
            "outcome",
        )?;
        Ok(Self {
            errors: SpoolError::ALL.map(|(_, name)| errors.with_label_values(&[name])),
            recovered: Recovered::ALL.map(|(_, name)| recovered.with_label_values(&[name])),
            bytes: gauge("driftline_sidecar_spool_bytes", "Bytes that the spool takes on disk.")?,
            segments: gauge("driftline_sidecar_spool_segments", "Segment files in the spool.")?,
        })
    }

    pub(super) fn error(&self, error: SpoolError) {
        let index = SpoolError::ALL.iter().position(|(other, _)| *other == error).unwrap_or(0);
        self.errors[index].inc();
    }

    pub(super) fn recovered(&self, outcome: Recovered, exchanges: u64) {
        let index = Recovered::ALL.iter().position(|(other, _)| *other == outcome).unwrap_or(0);
        self.recovered[index].inc_by(exchanges);
    }

    #[cfg(test)]
    pub(super) fn recovered_count(&self, outcome: Recovered) -> u64 {
        let index = Recovered::ALL.iter().position(|(other, _)| *other == outcome).unwrap_or(0);
        self.recovered[index].get()
    }
}
