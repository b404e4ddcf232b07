use std::future::Future;

use bytes::Bytes;

use crate::model::{Body, Malformed, Rejection};

/// Where the body of a request comes from, if rules want to see it before anything is decided.
pub trait BodySource: Send {
    /// The body, if it has at most so many bytes.
    ///
    /// # Errors
    /// When it does not come.
    fn read(&mut self, most: usize) -> impl Future<Output = Result<Body, Rejection>> + Send;

    /// The whole body, for an endpoint of the gateway's own: nothing of it is left for anybody else.
    ///
    /// # Errors
    /// `BodyTooLarge` if it has more than so many bytes, and when it does not come.
    fn take(&mut self, most: usize) -> impl Future<Output = Result<Bytes, Rejection>> + Send;
}

impl BodySource for Body {
    async fn read(&mut self, most: usize) -> Result<Body, Rejection> {
        let fits = self.text().is_none_or(|text| text.len() <= most);
        Ok(if fits { self.clone() } else { Self::NotRead })
    }

    async fn take(&mut self, most: usize) -> Result<Bytes, Rejection> {
        let text = self.text().unwrap_or_default();
        if text.len() > most {
            return Err(Rejection::BadRequest(Malformed::BodyTooLarge));
        }
        Ok(Bytes::copy_from_slice(text.as_bytes()))
    }
}
