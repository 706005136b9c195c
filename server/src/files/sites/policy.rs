//! Who may ask a site, how often and with how much, checked before its rules: address, rate,
//! certificate, password, body.

use std::borrow::Cow;
use std::sync::Arc;

use http::StatusCode;
use ringway_codec::field::Known;

use super::auth::{Admission, Auth, Hashing};
use super::rules::decoded;
use crate::app::handler::{Handler, Reply};
use crate::app::layers::RateLimit;
use crate::app::request::Request;
use crate::config::{AccessRule, PathPattern, RateRule, SiteConfig};

/// Below it the tokens of ACME stand.
pub(super) const CHALLENGE: &str = "/.well-known/acme-challenge/";

/// The checks of one site.
pub(super) struct Policy {
    access: Vec<AccessRule>,
    rates: Vec<(Option<PathPattern>, RateLimit)>,
    /// The paths that need a certificate of the client; an empty list is all.
    certified: Option<Vec<PathPattern>>,
    auth: Vec<Arc<Auth>>,
    body_bytes: Option<u64>,
}

/// What a client is told apart by.
#[derive(Hash)]
enum Client {
    Field(Vec<u8>),
    Address(u128),
}

impl Policy {
    /// None where everyone may ask for everything.
    pub(super) fn new(site: &SiteConfig, keys: u32, hashing: &Arc<Hashing>) -> Option<Self> {
        let rates = site.rate.iter().map(|rule| (rule.path.clone(), limit(rule, keys)));
        let auth = site.auth.iter().filter_map(|rule| Auth::new(rule, hashing));
        let this = Self {
            access: site.access.clone(),
            rates: rates.collect(),
            certified: site.client_certificate.as_ref().map(|asked| asked.paths.clone()),
            auth: auth.map(Arc::new).collect(),
            body_bytes: site.body_bytes,
        };
        let is_empty = this.access.is_empty() && this.rates.is_empty() && this.auth.is_empty();
        let is_empty = is_empty && this.certified.is_none() && this.body_bytes.is_none();
        (!is_empty).then_some(this)
    }

    /// What a request gets: a refusal, or what `site` answers.
    pub(super) fn judge<S: Handler>(
        self: &Arc<Self>,
        site: &Arc<S>,
        request: &Request<'_>,
    ) -> Reply {
        let raw = request.path().as_bytes();
        // One that names nothing is judged by the rules for all paths, and then refused.
        let path = decoded(raw).unwrap_or(Cow::Borrowed(raw));
        let is_for = |pattern: &Option<PathPattern>| {
            pattern.as_ref().is_none_or(|pattern| pattern.capture(&path).is_some())
        };
        let address = request.remote_addr().map(|address| address.ip());
        let first = self.access.iter().find(|rule| {
            is_for(&rule.path) && rule.networks.iter().any(|network| network.contains(address))
        });
        if first.is_some_and(|rule| !rule.allows) {
            return Reply::Ready(StatusCode::FORBIDDEN.into());
        }
        let rates = self.rates.iter().filter(|(path, _)| is_for(path));
        if let Some(refusal) = rates.filter_map(|(_, limit)| limit.refusal(request)).next() {
            return Reply::Ready(refusal);
        }
        // Authorities ask for what is no secret, and have no password (RFC 8555 section 8.3).
        let is_open = path.starts_with(CHALLENGE.as_bytes());
        let needs_certificate = self.certified.as_ref().is_some_and(|paths| {
            paths.is_empty() || paths.iter().any(|pattern| pattern.capture(&path).is_some())
        });
        // Where all paths need one, only who comes without TLS gets here without.
        if needs_certificate && !is_open && !request.has_client_certificate() {
            return Reply::Ready(StatusCode::FORBIDDEN.into());
        }
        match self.auth.iter().find(|auth| !is_open && auth.is_for(&path)) {
            None => self.with_body(site, request),
            Some(auth) => match auth.admit(request) {
                Admission::Granted => self.with_body(site, request),
                Admission::Refused(response) => Reply::Ready(response),
                Admission::Awaited(verdict) => {
                    let (this, site) = (Arc::clone(self), Arc::clone(site));
                    let (auth, request) = (Arc::clone(auth), request.to_owned());
                    Reply::Later(Box::pin(async move {
                        match verdict.await {
                            Ok(true) => this.with_body(&site, &request.view()).await,
                            Ok(false) | Err(_) => auth.refusal(),
                        }
                    }))
                }
            },
        }
    }

    /// Refuses a body that is too large, as soon as that is known.
    fn with_body<S: Handler>(&self, site: &Arc<S>, request: &Request<'_>) -> Reply {
        let Some(limit) = self.body_bytes else { return site.call(request) };
        let length = request.known(Known::ContentLength).and_then(|text| str::from_utf8(text).ok());
        match length.and_then(|text| text.parse::<u64>().ok()) {
            Some(length) if length > limit => Reply::Ready(StatusCode::PAYLOAD_TOO_LARGE.into()),
            Some(_) => site.call(request),
            None => match request.take_body() {
                None => site.call(request),
                Some(mut body) => {
                    let (site, request) = (Arc::clone(site), request.to_owned());
                    Reply::Later(Box::pin(async move {
                        let exceeded = body.limit(limit);
                        while let Some(Ok(_)) = body.next().await {}
                        match exceeded.get() {
                            true => StatusCode::PAYLOAD_TOO_LARGE.into(),
                            false => site.call(&request.view()).await,
                        }
                    }))
                }
            },
        }
    }
}

fn limit(rule: &RateRule, keys: u32) -> RateLimit {
    let limit = RateLimit::new(rule.requests, rule.per).keys(keys as usize);
    let Some(field) = rule.field.clone() else { return limit };
    limit.key(move |request| match request.header(&field) {
        Some(value) => Some(Client::Field(value.to_vec())),
        None => {
            request.remote_addr().map(|address| Client::Address(super::auth::prefix(address.ip())))
        }
    })
}
