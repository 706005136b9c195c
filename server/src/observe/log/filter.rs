//! Which requests have a line: by status, by path, one of many.

use crate::app::request::Request;
use crate::config::{LogConfig, LoggedPath, Sampling, Statuses};

/// What `[log]` leaves out. A worker's own.
#[derive(Debug)]
pub(super) struct Filter {
    only: Vec<Statuses>,
    except: Vec<LoggedPath>,
    keep: Vec<Statuses>,
    sample: u32,
    sampling: Sampling,
    /// The requests that the sample has seen, or the state of its random numbers.
    state: u64,
}

impl Filter {
    pub(super) fn new(config: &LogConfig, worker: usize) -> Self {
        Self {
            only: config.only.clone(),
            except: config.except.clone(),
            keep: config.keep.clone(),
            sample: config.sample.0,
            sampling: config.sampling,
            state: match config.sampling {
                Sampling::Every => 0,
                // Each worker its own sequence; nothing secret hangs on it.
                Sampling::Random => (worker as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15),
            },
        }
    }

    /// Whether its path keeps a request out of the log.
    pub(super) fn excepts(&self, request: &Request<'_>) -> bool {
        if self.except.is_empty() || !request.line.canonical {
            return false;
        }
        let path = decoded(request.path().as_bytes());
        self.except.iter().any(|pattern| pattern.0.capture(&path).is_some())
    }

    /// Whether a request with this status has a line.
    pub(super) fn admits(&mut self, status: u16, is_excepted: bool) -> bool {
        let has = |list: &[Statuses]| list.iter().any(|statuses| statuses.has(status));
        if !self.keep.is_empty() && has(&self.keep) {
            return true;
        }
        let is_wanted = !is_excepted && (self.only.is_empty() || has(&self.only));
        is_wanted && (self.sample == 1 || self.draws())
    }

    /// Whether this one stands for the others.
    fn draws(&mut self) -> bool {
        match self.sampling {
            Sampling::Every => {
                let seen = self.state;
                self.state = (seen + 1) % u64::from(self.sample);
                seen == 0
            }
            Sampling::Random => {
                // xorshift64 (Marsaglia 2003); a product's upper half is the number below `sample`.
                self.state ^= self.state << 13;
                self.state ^= self.state >> 7;
                self.state ^= self.state << 17;
                ((self.state >> 32) * u64::from(self.sample)) >> 32 == 0
            }
        }
    }
}

/// A canonical path without its percent-encoding, as patterns are written.
fn decoded(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let [first, behind @ ..] = rest {
        let pair = behind.get(..2).filter(|_| *first == b'%');
        let byte = pair.and_then(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok());
        out.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &behind[2..] } else { behind };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sample;

    fn filter(sample: u32, sampling: Sampling) -> Filter {
        let config = LogConfig { sample: Sample(sample), sampling, ..LogConfig::default() };
        Filter::new(&config, 0)
    }

    #[test]
    fn every_nth_is_the_same_each_time() {
        let draw = || -> Vec<bool> {
            let mut filter = filter(3, Sampling::Every);
            (0..7).map(|_| filter.admits(200, false)).collect()
        };
        assert_eq!(draw(), [true, false, false, true, false, false, true]);
        assert_eq!(draw(), draw());
    }

    #[test]
    fn random_ones_are_about_one_in_n() {
        for sample in [2, 10, 100] {
            let mut filter = filter(sample, Sampling::Random);
            let drawn = (0..100_000).filter(|_| filter.admits(200, false)).count();
            let wanted = 100_000 / sample as usize;
            assert!(drawn.abs_diff(wanted) < wanted / 5, "{drawn} of {wanted}");
        }
    }

    #[test]
    fn a_path_is_decoded_once() {
        assert_eq!(decoded(b"/a%20b%2541%zz%"), b"/a b%41%zz%");
    }
}
