//! The HTTP side of the server: counts every request, lets it wait, refuses it, cuts its answer, as ordered,
//! and hands everything else to the S3 protocol.
//!
//! Requests to `/-/` are the server's own, not S3's (no bucket can have that name): `GET /-/orders` and
//! `PUT /-/orders` read and replace the orders as JSON, `GET /-/counts` tells how much was asked and `GET /-/asked` what
//! and when, and `/-/credentials` and `/-/sts` give out access keys as the services of a cloud do.

use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use s3s::Body;
use s3s::service::S3Service;
use serde::{Deserialize, Serialize};

use super::orders::{Desk, Orders};

/// Requests, by what became of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// All requests of the S3 protocol.
    pub requests: u64,
    /// Of these, `PUT` and `POST`.
    pub writes: u64,
    /// `GET` and `HEAD`.
    pub reads: u64,
    /// `DELETE`.
    pub deletes: u64,
    /// Requests that were refused or spoiled on order.
    pub spoiled: u64,
    /// Uploads that carried a checksum beside their signature.
    pub with_checksum: u64,
    /// Requests that came although the server had asked for quiet.
    pub impatient: u64,
    /// Requests whose credentials had expired.
    pub expired: u64,
    /// Access keys that were given out.
    pub given: u64,
}

pub(super) struct Wire {
    pub(super) service: S3Service,
    pub(super) desk: std::sync::Arc<Desk>,
}

type Answer = Response<Body>;

impl Wire {
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Result<Answer, s3s::HttpError> {
        if request.uri().path().starts_with("/-/") {
            return Ok(self.own(request).await);
        }
        let number = self.desk.begin(format!("{} {}", request.method(), request.uri()));
        let answer = self.served(request).await;
        self.desk.end(number);
        answer
    }

    async fn served(&self, request: Request<Incoming>) -> Result<Answer, s3s::HttpError> {
        self.count(&request);
        let orders = self.desk.orders();
        self.wait(Duration::from_millis(orders.latency_ms)).await;
        if orders.deny {
            self.spoiled();
            return Ok(
                drained(request, refusal(403, "InvalidAccessKeyId", "The key is refused on order.")).await
            );
        }
        if let Some(refusal) = self.refused(&request, &orders) {
            self.spoiled();
            return Ok(drained(request, refusal).await);
        }
        let (upload, rate) = (length(request.headers()), orders.bytes_per_second);
        self.wait(duration(upload, rate)).await;
        let path = request.uri().path().to_owned();
        let reads_object = request.method() == Method::GET && is_object(&path);
        if reads_object && self.desk.is_unreadable(&path) {
            self.spoiled();
            return Ok(drained(request, refusal(503, "SlowDown", "Unreadable on order.")).await);
        }
        let writes = request.method() != Method::GET && request.method() != Method::HEAD;
        let answer = hyper::service::Service::call(&self.service, request).await?;
        if writes && self.desk.fails_after(&path) {
            self.spoiled();
            return Ok(refusal(500, "InternalError", "Done, but failed on order."));
        }
        Ok(if reads_object { self.sent(answer, &path, &orders).await } else { answer })
    }

    /// The refusal that was ordered for this request, if any was.
    fn refused(&self, request: &Request<Incoming>, orders: &Orders) -> Option<Answer> {
        let now_s = self.desk.world.now_ns().div_euclid(1_000_000_000) + orders.clock_ahead_s;
        if signed_at(request).is_some_and(|at| at.abs_diff(now_s) > SKEW_S_MAX) {
            let mut answer = refusal(403, "RequestTimeTooSkewed", "The difference is too large.");
            let date = httpdate(now_s).parse().expect("a date is a header");
            answer.headers_mut().insert(header::DATE, date);
            return Some(answer);
        }
        if access_key(request).is_some_and(|key| self.desk.has_expired(&key)) {
            self.desk.count(|counts| counts.expired += 1);
            return Some(refusal(400, "ExpiredToken", "The provided token has expired."));
        }
        if !self.desk.is_unavailable() {
            return None;
        }
        let status = orders.busy_status.unwrap_or(503);
        let mut answer = refusal(status, "SlowDown", "Busy on order.");
        if let Some(seconds) = orders.retry_after_s {
            answer.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        Some(answer)
    }

    /// Credentials as a container's agent or a token service gives them: another key each time, valid for ages.
    fn credentials(&self, as_xml: bool) -> Answer {
        let key = format!("seawall-{}", self.desk.give_key());
        self.desk.count(|counts| counts.given += 1);
        let (secret, token, expires) = (SECRET, "a-token", "2999-01-01T00:00:00Z");
        if as_xml {
            let text = format!(
                "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>\
                 <AccessKeyId>{key}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey>\
                 <SessionToken>{token}</SessionToken><Expiration>{expires}</Expiration></Credentials>\
                 </AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
            );
            return Response::new(Body::from(text));
        }
        json(&serde_json::json!({
            "AccessKeyId": key, "SecretAccessKey": secret, "Token": token, "Expiration": expires
        }))
    }

    fn count(&self, request: &Request<Incoming>) {
        let checksum = request.headers().contains_key("x-amz-checksum-crc64nvme");
        let method = request.method().clone();
        self.desk.count(|counts| {
            counts.requests += 1;
            counts.with_checksum += u64::from(checksum);
            match method {
                Method::GET | Method::HEAD => counts.reads += 1,
                Method::DELETE => counts.deletes += 1,
                _ => counts.writes += 1,
            }
        });
    }

    fn spoiled(&self) {
        self.desk.count(|counts| counts.spoiled += 1);
    }

    async fn wait(&self, time: Duration) {
        if !time.is_zero() {
            self.desk.world.sleep(time).await;
        }
    }

    /// The body of an object, flipped, cut and slowed down as ordered.
    async fn sent(&self, answer: Answer, path: &str, orders: &Orders) -> Answer {
        let len = length(answer.headers());
        let cut = if answer.status().is_success() { self.desk.cut(path, len) } else { None };
        let flip = match answer.status().is_success() {
            true => self.desk.flip(path, first_byte(answer.headers()), len),
            false => None,
        };
        if cut.is_none() && flip.is_none() && orders.bytes_per_second.is_none() {
            return answer;
        }
        if cut.is_some() || flip.is_some() {
            self.spoiled();
        }
        let (mut parts, body) = answer.into_parts();
        let Ok(whole) = BodyExt::collect(body).await else { return refusal(500, "InternalError", "no body") };
        let mut whole = whole.to_bytes();
        if let Some(at) = flip {
            let mut flipped = whole.to_vec();
            flipped[at] ^= 1;
            whole = flipped.into();
        }
        let sent = whole.slice(..cut.map_or(whole.len(), |after| after as usize));
        let broken = cut.is_some() && !orders.cut_quietly;
        if cut.is_some() && orders.cut_quietly {
            parts.headers.insert(header::CONTENT_LENGTH, sent.len().into());
        }
        Response::from_parts(parts, self.paced(sent, orders.bytes_per_second, broken))
    }

    /// A body in small steps; a broken one ends with an error, which hangs up the connection.
    fn paced(&self, bytes: Bytes, rate: Option<u64>, broken: bool) -> Body {
        const STEP_BYTES: usize = 64 * 1024;
        let steps = bytes.len().div_ceil(STEP_BYTES);
        let step = move |n: usize| bytes.slice(n * STEP_BYTES..bytes.len().min((n + 1) * STEP_BYTES));
        let world = self.desk.world.clone();
        let frames = stream::iter(0..steps).map(step).then(move |bytes| {
            let (world, time) = (world.clone(), duration(bytes.len() as u64, rate));
            async move {
                if !time.is_zero() {
                    world.sleep(time).await;
                }
                Ok(Frame::data(bytes))
            }
        });
        let world = self.desk.world.clone();
        let end = stream::iter(broken.then_some(())).then(move |()| {
            // What was sent so far leaves first; else the client would see no answer instead of half of one.
            let flushed = world.sleep(Duration::from_millis(20));
            async move {
                flushed.await;
                Err(std::io::Error::other("cut on order"))
            }
        });
        Body::http_body_unsync(StreamBody::new(frames.chain(end)))
    }

    /// A request to the server itself.
    async fn own(&self, request: Request<Incoming>) -> Answer {
        let path = request.uri().path().to_owned();
        match (request.method().as_str(), path.as_str()) {
            ("GET", "/-/credentials") => self.credentials(false),
            (_, "/-/sts") => self.credentials(true),
            ("GET", "/-/orders") => json(&self.desk.orders()),
            ("GET", "/-/counts") => json(&self.desk.counts()),
            ("GET", "/-/asked") => json(&self.desk.asked()),
            ("PUT" | "POST", "/-/orders") => {
                let body = request.into_body().collect().await.map(|whole| whole.to_bytes());
                match body.map(|body| serde_json::from_slice::<Orders>(&body)) {
                    Ok(Ok(orders)) => {
                        self.desk.change(|old| *old = orders);
                        json(&self.desk.orders())
                    }
                    Ok(Err(e)) => refusal(400, "InvalidRequest", &e.to_string()),
                    Err(e) => refusal(400, "IncompleteBody", &e.to_string()),
                }
            }
            _ => refusal(404, "NoSuchPath", "/-/orders, /-/counts and /-/asked are there"),
        }
    }
}

/// Reads a request to its end before it is refused, as servers do: a client that still sends would see no
/// answer.
async fn drained(request: Request<Incoming>, answer: Answer) -> Answer {
    let mut body = request.into_body().into_data_stream();
    while let Ok(Some(_)) = body.try_next().await {}
    answer
}

/// As Amazon's: a quarter of an hour.
const SKEW_S_MAX: u64 = 900;

/// The secret of all keys that this gives out.
pub(super) const SECRET: &str = "seawall-secret";

/// When a request says it was signed, in UTC seconds since 1970.
fn signed_at(request: &Request<Incoming>) -> Option<i64> {
    let text = request.headers().get("x-amz-date")?.to_str().ok()?;
    let civil = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok()?;
    Some(civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second())
}

/// The access key that a request is signed with.
fn access_key(request: &Request<Incoming>) -> Option<String> {
    let signature = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
    let (key, _) = signature.split_once("Credential=")?.1.split_once('/')?;
    Some(key.to_owned())
}

/// A date as headers have it.
fn httpdate(s: i64) -> String {
    let at = jiff::Timestamp::from_second(s).expect("the order is a few hours");
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

fn is_object(path: &str) -> bool {
    path.trim_start_matches('/').split_once('/').is_some_and(|(_, key)| !key.is_empty())
}

/// Which byte of the object a body begins with.
fn first_byte(headers: &http::HeaderMap) -> u64 {
    let range = headers.get(header::CONTENT_RANGE).and_then(|range| range.to_str().ok());
    let first = range.and_then(|range| range.strip_prefix("bytes ")?.split('-').next()?.parse().ok());
    first.unwrap_or(0)
}

fn length(headers: &http::HeaderMap) -> u64 {
    let value = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    value.and_then(|value| value.parse().ok()).unwrap_or(0)
}

fn duration(bytes: u64, rate: Option<u64>) -> Duration {
    rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64))
}

fn json(value: &impl Serialize) -> Answer {
    let text = serde_json::to_string(value).expect("plain values are JSON");
    let mut answer = Response::new(Body::from(text));
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    answer
}

fn refusal(status: u16, code: &str, message: &str) -> Answer {
    let text =
        format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{message}</Message></Error>");
    let mut answer = Response::new(Body::from(text));
    *answer.status_mut() = StatusCode::from_u16(status).expect("the statuses here are real ones");
    answer
}
