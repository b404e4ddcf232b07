//! Which answers are compressed and how. Pingora's encoders do the work; its module would not do for the rest: it takes the first
//! coding of `Accept-Encoding` whatever its weight, compresses what says `no-transform`, and runs for every chunk of every route.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use pingora::http::ResponseHeader;
use pingora::prelude::Result;
use pingora::protocols::http::compression::{Algorithm, Encode};

use super::cors::vary;
use crate::model::settings::{Coding, Compression};
use crate::model::{Facts, Protocol};

/// A body that is being compressed.
pub(super) struct Encoder(Box<dyn Encode + Send + Sync>);

impl Encoder {
    /// Puts the next piece in the place of what came.
    pub(super) fn encode(&mut self, body: &mut Option<Bytes>, is_last: bool) -> Result<()> {
        let piece = body.take().unwrap_or_default();
        if !piece.is_empty() || is_last {
            *body = Some(self.0.encode(&piece, is_last)?);
        }
        Ok(())
    }
}

/// Changes the head of an answer that will be compressed.
pub(super) fn begin(compression: &Compression, facts: &Facts, head: &mut ResponseHeader) -> Result<Option<Encoder>> {
    if !is_compressible(compression, head) {
        return Ok(None);
    }
    // Also for clients that get it as it is: a cache must not give them what others got.
    vary(head, "Accept-Encoding")?;
    let is_possible = facts.method != Method::HEAD && facts.protocol != Protocol::Http10;
    let coding = if is_possible { accepted(&compression.algorithms, &facts.headers) } else { None };
    let Some(encoder) = coding.and_then(|coding| Some((coding, encoder(coding)?))) else { return Ok(None) };
    head.insert_header(header::CONTENT_ENCODING, encoder.0.token())?;
    head.remove_header(&header::CONTENT_LENGTH);
    head.remove_header(&header::ACCEPT_RANGES);
    head.insert_header(header::TRANSFER_ENCODING, "chunked")?;
    if let Some(weak) = head.headers.get(header::ETAG).and_then(weakened) {
        head.insert_header(header::ETAG, weak)?;
    }
    Ok(Some(Encoder(encoder.1)))
}

fn encoder(coding: Coding) -> Option<Box<dyn Encode + Send + Sync>> {
    // Levels at which a core still fills a fast line.
    match coding {
        Coding::Gzip => Algorithm::Gzip.compressor(5),
        Coding::Brotli => Algorithm::Brotli.compressor(4),
        Coding::Zstd => Algorithm::Zstd.compressor(3),
    }
}

fn is_compressible(compression: &Compression, head: &ResponseHeader) -> bool {
    let headers = &head.headers;
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    // RFC 9530 and RFC 1864: sums over what is sent.
    let sums = ["content-digest", "repr-digest", "digest", "content-md5"];
    !head.status.is_informational()
        && ![StatusCode::NO_CONTENT, StatusCode::RESET_CONTENT, StatusCode::PARTIAL_CONTENT, StatusCode::NOT_MODIFIED]
            .contains(&head.status)
        && !headers.contains_key(header::CONTENT_ENCODING)
        && !headers.contains_key(header::CONTENT_RANGE)
        && !sums.iter().any(|name| headers.contains_key(*name))
        && length.is_none_or(|length| length >= compression.minimum.max(1))
        && headers.get(header::CONTENT_TYPE).is_some_and(|of| is_listed(&compression.types, of))
        && !must_not_be_transformed(headers)
}

fn is_listed(types: &[String], content_type: &HeaderValue) -> bool {
    let Ok(text) = content_type.to_str() else { return false };
    let media_type = text.split(';').next().unwrap_or_default().trim();
    let is_event_stream = media_type.eq_ignore_ascii_case("text/event-stream");
    !is_event_stream
        && types.iter().any(|known| match known.strip_suffix('*') {
            Some(main) => media_type.get(..main.len()).is_some_and(|start| start.eq_ignore_ascii_case(main)),
            None => known.eq_ignore_ascii_case(media_type),
        })
}

/// RFC 9111 §5.2.2.6.
fn must_not_be_transformed(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::CACHE_CONTROL).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|directive| directive.trim().eq_ignore_ascii_case("no-transform"))
}

/// RFC 9110 §8.8.1: the same resource, but no longer the same bytes.
fn weakened(tag: &HeaderValue) -> Option<HeaderValue> {
    if tag.as_bytes().starts_with(b"W/") {
        return None;
    }
    HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat()).ok()
}

/// RFC 9110 §12.5.3: the coding that the client likes best; between equals, the operator's order.
fn accepted(known: &[Coding], headers: &HeaderMap) -> Option<Coding> {
    let lines = || headers.get_all(header::ACCEPT_ENCODING).into_iter().filter_map(|line| line.to_str().ok());
    let weight = |token: &str| {
        lines().flat_map(|line| line.split(',')).find_map(|item| {
            let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
            name.trim().eq_ignore_ascii_case(token).then(|| thousandths(parameters))
        })
    };
    let mut best: Option<(u16, Coding)> = None;
    for coding in known {
        let weight = weight(coding.token()).or_else(|| weight("*")).unwrap_or(0);
        if weight > 0 && best.is_none_or(|(other, _)| weight > other) {
            best = Some((weight, *coding));
        }
    }
    best.map(|(_, coding)| coding)
}

/// `q=0.5` as 500 (RFC 9110 §12.4.2); what is no weight counts as 0, because compressing is only a favour.
pub(super) fn thousandths(parameters: &str) -> u16 {
    let weight = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| value.trim())
    });
    let Some(weight) = weight else { return 1000 };
    match weight.parse::<f32>() {
        // In range, so the cast neither truncates nor wraps.
        Ok(weight) if (0.0..=1.0).contains(&weight) => (weight * 1000.0).round() as u16,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Coding; 3] = [Coding::Zstd, Coding::Brotli, Coding::Gzip];

    #[test]
    fn rfc9110_12_5_3_weights_decide() {
        for (field, expected) in [
            ("gzip", Some(Coding::Gzip)),
            ("gzip, br", Some(Coding::Brotli)),
            ("gzip;q=1, br;q=0.5", Some(Coding::Gzip)),
            ("gzip;q=0", None),
            ("gzip; q=0, *", Some(Coding::Zstd)),
            ("*;q=0", None),
            ("identity", None),
            ("", None),
            ("GZIP;Q=0.001", Some(Coding::Gzip)),
            ("gzip;q=2", None),
            ("gzip;q=nan", None),
            ("xgzip, br2", None),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_str(field).unwrap())]);
            assert_eq!(accepted(&ALL, &headers), expected, "{field}");
        }
        assert_eq!(accepted(&ALL, &HeaderMap::new()), None);
    }

    #[test]
    fn some_answers_stay_as_they_are() {
        let compression =
            Compression { algorithms: ALL.into(), minimum: 100, types: vec!["text/*".into(), "application/json".into()] };
        let with = |status: u16, fields: &[(&'static str, &str)]| {
            let mut head = ResponseHeader::build(status, None).unwrap();
            for (name, value) in fields {
                head.append_header(*name, *value).unwrap();
            }
            is_compressible(&compression, &head)
        };
        let json = ("content-type", "application/json; charset=utf-8");
        assert!(with(200, &[json]));
        assert!(with(404, &[json, ("content-length", "100")]));
        assert!(with(200, &[("content-type", "Text/HTML"), ("cache-control", "public")]));
        for (status, fields) in [
            (200, [json, ("content-length", "99")].as_slice()),
            (200, &[json, ("content-encoding", "br")]),
            (200, &[json, ("cache-control", "public, No-Transform")]),
            (200, &[json, ("content-digest", "sha-256=:x:")]),
            (206, &[json, ("content-range", "bytes 0-1/2")]),
            (206, &[json]),
            (204, &[json]),
            (304, &[json]),
            (200, &[("content-type", "image/png")]),
            (200, &[("content-type", "text/event-stream")]),
            (200, &[]),
        ] {
            assert!(!with(status, fields), "{status} {fields:?}");
        }
    }

    #[test]
    fn a_strong_tag_becomes_a_weak_one() {
        assert_eq!(weakened(&HeaderValue::from_static("\"a\"")).unwrap(), "W/\"a\"");
        assert_eq!(weakened(&HeaderValue::from_static("W/\"a\"")), None);
    }
}
