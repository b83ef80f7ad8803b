//! The bodies of an exchange, ready to be read.

use crate::exchange::Exchange;
use crate::format::Format;
use crate::rows::Role;

/// Both bodies, whole and plain, and the exchange that they are of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bodies<'a> {
    pub(crate) exchange: &'a Exchange,
    pub(crate) request: &'a [u8],
    /// None when the model did not answer with success.
    pub(crate) response: Option<&'a [u8]>,
}

impl<'a> Bodies<'a> {
    /// What a body is, by its header and its beginning; its content type when that is nothing that can be read.
    pub(crate) fn format(&self, role: Role) -> Result<Format, &'a str> {
        let (header, body) = match role {
            Role::Feature => (self.exchange.request_header("content-type"), self.request),
            Role::Prediction => (self.exchange.response_header("content-type"), self.response.unwrap_or_default()),
        };
        Format::of(header, body).ok_or_else(|| header.unwrap_or_default())
    }
}
