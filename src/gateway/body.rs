use std::future::Future;

use crate::model::{Body, Rejection};

/// Where the body of a request comes from, if rules want to see it before anything is decided.
pub trait BodySource: Send {
    /// The body, if it has at most so many bytes.
    ///
    /// # Errors
    /// When it does not come.
    fn read(&mut self, most: usize) -> impl Future<Output = Result<Body, Rejection>> + Send;
}

impl BodySource for Body {
    async fn read(&mut self, most: usize) -> Result<Body, Rejection> {
        let fits = self.text().is_none_or(|text| text.len() <= most);
        Ok(if fits { self.clone() } else { Self::NotRead })
    }
}
