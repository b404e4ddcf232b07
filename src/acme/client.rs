use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use reqwest::{Certificate, Client, redirect};

use crate::model::settings::Acme;

/// No answer of an ACME server is longer.
const LARGEST: usize = 1 << 20;

/// instant-acme's HTTP by reqwest, whose TLS is OpenSSL's like everywhere else here.
pub(super) struct Http(Client);

impl Http {
    pub(super) fn new(acme: &Acme) -> Result<Self, String> {
        let mut builder = Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .http1_only()
            .https_only(true)
            .connect_timeout(Duration::from_secs(10))
            .timeout(Duration::from_secs(30))
            .user_agent(concat!("tollgate/", env!("CARGO_PKG_VERSION")));
        if let Some(ca) = &acme.ca {
            for certificate in Certificate::from_pem_bundle(ca.as_bytes()).map_err(|error| error.to_string())? {
                builder = builder.add_root_certificate(certificate);
            }
        }
        builder.build().map(Self).map_err(|error| error.to_string())
    }
}

impl HttpClient for Http {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let client = self.0.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            let url = parts.uri.to_string();
            let sent = client.request(parts.method, url).headers(parts.headers).body(body).send().await;
            let mut answer = sent.map_err(|error| Error::Other(Box::new(error)))?;
            let mut response = http::Response::builder().status(answer.status());
            if let Some(headers) = response.headers_mut() {
                *headers = answer.headers().clone();
            }
            let mut text = Vec::new();
            while let Some(chunk) = answer.chunk().await.map_err(|error| Error::Other(Box::new(error)))? {
                text.extend_from_slice(&chunk);
                if text.len() > LARGEST {
                    return Err(Error::Str("the server's answer is too long"));
                }
            }
            let response = response.body(Full::new(Bytes::from(text))).map_err(|error| Error::Other(Box::new(error)))?;
            Ok(BytesResponse::from(response))
        })
    }
}
