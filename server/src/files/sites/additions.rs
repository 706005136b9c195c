//! What a site adds to an answer once it is made: the page of an error, and fields.

use std::ops::RangeInclusive;
use std::rc::Rc;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use super::super::Files;
use super::super::site::Site;
use crate::app::handler::Reply;
use crate::app::response::Response;
use crate::config::ErrorPage;

/// Additions to the answers of one site.
pub(super) struct Additions {
    /// Files have them among their own.
    fields: Vec<(HeaderName, HeaderValue)>,
    /// Paths below the root, by status; the first that matches.
    pages: Vec<(RangeInclusive<u16>, Vec<u8>)>,
}

impl Additions {
    /// None where there is nothing to add.
    pub(super) fn new(fields: Vec<(HeaderName, HeaderValue)>, pages: &[ErrorPage]) -> Option<Self> {
        let pages = pages.iter().map(|page| (page.statuses.clone(), page.file.0.clone().into()));
        let this = Self { fields, pages: pages.collect() };
        (!this.fields.is_empty() || !this.pages.is_empty()).then_some(this)
    }

    /// Adds to an answer of the site whose files are `files`.
    pub(super) fn add_to(self: &Arc<Self>, files: &Files, reply: Reply) -> Reply {
        match reply {
            Reply::Ready(response) if self.page(&response).is_none() => {
                Reply::Ready(self.with_fields(response))
            }
            Reply::Ready(response) => match files.site() {
                Ok(site) => {
                    let this = Arc::clone(self);
                    Reply::Later(Box::pin(async move { this.finish(&site, response).await }))
                }
                Err(_) => Reply::Ready(self.with_fields(response)),
            },
            Reply::Later(answer) => {
                let (this, site) = (Arc::clone(self), files.site().ok());
                Reply::Later(Box::pin(async move {
                    let response = answer.await;
                    match site {
                        Some(site) => this.finish(&site, response).await,
                        None => this.with_fields(response),
                    }
                }))
            }
        }
    }

    async fn finish(&self, site: &Rc<Site>, mut response: Response) -> Response {
        if let Some(path) = self.page(&response)
            && let Some(page) = site.page(response.status_code(), path).await
        {
            response.content_type = page.content_type;
            response.body = page.body;
        }
        self.with_fields(response)
    }

    /// The file that is the body of an answer, if it is that of an error.
    fn page(&self, response: &Response) -> Option<&[u8]> {
        let status = response.status_code().as_u16();
        let page = self.pages.iter().find(|(statuses, _)| statuses.contains(&status));
        page.map(|(_, path)| path.as_slice())
    }

    fn with_fields(&self, mut response: Response) -> Response {
        if response.shared.is_some() {
            return response;
        }
        for (name, value) in &self.fields {
            // Some answers are made of a file's fields.
            if !response.fields.has(name.as_str().as_bytes()) {
                response.add_header(name, value);
            }
        }
        response
    }
}
