//! The access log of a server: opened at the start, and replaced while it runs.

use super::handle::ServerHandle;
use crate::app::error::Error;
use crate::config::{LogConfig, LogFormat};
use crate::observe::log::{Dropped, Log, LogSink, Writer};
use crate::worker::Order;

/// A log that is open and not in use yet.
pub(super) struct OpenedLog {
    /// None where nothing is logged.
    pub(super) writer: Option<Writer>,
    /// The end of each worker, in their order.
    pub(super) ends: std::vec::IntoIter<Option<Log>>,
}

/// Opens what `config` names, and starts no thread. None where nothing is logged.
pub(super) fn open(config: &LogConfig) -> Result<Option<LogSink>, Error> {
    if config.format == LogFormat::Off {
        return Ok(None);
    }
    let failed = |source| Error::Log { path: config.destination(), source };
    LogSink::open(config).map(Some).map_err(failed)
}

impl OpenedLog {
    /// The log that `config` describes, of what [`open`] has opened. `queue` is `limits.log_queue`.
    pub(super) fn of(
        config: &LogConfig,
        sink: Option<LogSink>,
        queue: usize,
        workers: usize,
        dropped: &Dropped,
    ) -> Result<Self, Error> {
        let Some(sink) = sink else {
            let ends: Vec<_> = (0..workers).map(|_| None).collect();
            return Ok(Self { writer: None, ends: ends.into_iter() });
        };
        let (writer, ends) = Writer::start(config, sink, queue, workers, dropped)
            .map_err(|source| Error::Log { path: config.destination(), source })?;
        let ends: Vec<_> = ends.into_iter().map(Some).collect();
        Ok(Self { writer: Some(writer), ends: ends.into_iter() })
    }

    /// What gives the next worker its end. To be called once for each of them.
    pub(super) fn order(&mut self) -> Order {
        Order::Log(self.ends.next().flatten().map(Box::new))
    }
}

impl ServerHandle {
    /// Opens another log for this server. It is in use once every worker has its order and
    /// [`Self::keep_log`] the writer.
    ///
    /// # Errors
    /// The file cannot be opened: the former log stays in use.
    pub(super) fn open_log(&self, config: &LogConfig, queue: usize) -> Result<OpenedLog, Error> {
        OpenedLog::of(config, open(config)?, queue, self.workers(), self.dropped_lines())
    }
}
