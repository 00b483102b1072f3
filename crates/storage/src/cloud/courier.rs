//! The way of one HTTP request: how long it may take, and what the server really said.
//!
//! The timeouts of the HTTP client count the upload of a body as waiting, so a large object on a slow line
//! would always fail. Here the time allowed grows with the body. And since the library above keeps the status
//! of an answer to itself, the last refusal of each call is noted here, where the caller of [`listening`]
//! finds it.

use std::cell::RefCell;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::{Either, select};
use http::header::{DATE, RETRY_AFTER};
use http::{HeaderMap, StatusCode, Uri};
use http_body_util::BodyExt;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody,
    HttpService,
};
use url::Url;
use world::{Step, World};

use super::way::Way;

/// Longest time for an answer to begin, after the body was sent.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// The same for a place that has not answered anything yet, as it may be misspelt.
const STRANGER_ANSWER_MAX: Duration = Duration::from_secs(20);
/// Longest silence within a body that comes.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(60);
/// After this long a person wants to know what is waited for.
const TOLD_AFTER: Duration = Duration::from_secs(2);
/// Refusals are short; more of them is not read.
const REFUSAL_BYTES_MAX: usize = 64 * 1024;

/// What went wrong on the way, if anything did.
#[derive(Clone, Debug)]
pub(super) enum Heard {
    /// The server's refusal.
    Refusal(Peer, Refusal),
    /// No answer, or none that could be read.
    Silence {
        peer: Peer,
        text: String,
        /// There was not even a connection.
        unconnected: bool,
    },
    /// No credentials to sign the request with.
    NoCredentials { text: String },
}

/// Who was spoken to.
#[derive(Clone, Debug, Default)]
pub(super) struct Peer {
    /// Its name or address.
    pub(super) host: String,
    /// The same with its port, where one was said.
    pub(super) authority: String,
    /// The proxy in between, without credentials.
    pub(super) proxy: Option<String>,
    /// It was asked for credentials and not for objects.
    pub(super) gives_credentials: bool,
}

/// What a server said instead of doing it.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    /// The provider's code, as in `NoSuchKey`; empty where it gave none.
    pub(super) code: String,
    pub(super) message: String,
    /// How long it asks to wait.
    pub(super) wait: Option<Duration>,
    /// The clocks of this machine and of the server, where the server tells: UTC seconds since 1970.
    pub(super) clocks: Option<(i64, i64)>,
}

tokio::task_local! {
    static HEARD: RefCell<Option<Heard>>;
}

/// Does `work`, and tells what was heard last while it was done; none if that was an answer as wanted.
pub(super) async fn listening<T>(work: impl Future<Output = T>) -> (T, Option<Heard>) {
    let both = async {
        let done = work.await;
        (done, HEARD.with(RefCell::take))
    };
    HEARD.scope(RefCell::new(None), both).await
}

/// Notes what happened for whoever listens.
pub(super) fn hear(heard: Option<Heard>) {
    // Nobody listens where a request is made outside of any call, and nothing is lost then.
    let _ = HEARD.try_with(|last| *last.borrow_mut() = heard);
}

/// Does `work` unless it takes longer than `time`.
pub(super) async fn within<T>(world: &World, time: Duration, work: impl Future<Output = T>) -> Option<T> {
    match select(pin!(work), world.sleep(time)).await {
        Either::Left((done, _)) => Some(done),
        Either::Right(_) => None,
    }
}

/// Makes clients whose requests are watched.
#[derive(Debug)]
pub(super) struct Couriers(pub(super) Arc<Way>);

impl HttpConnector for Couriers {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let refused = |why: String| object_store::Error::Generic { store: "HTTP", source: why.into() };
        let client = self.0.client_for(options).map_err(refused)?;
        Ok(HttpClient::new(Courier { client, way: self.0.clone() }))
    }
}

#[derive(Debug)]
struct Courier {
    client: reqwest::Client,
    way: Arc<Way>,
}

#[async_trait]
impl HttpService for Courier {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let url = Url::parse(&request.uri().to_string());
        let url = url.map_err(|e| HttpError::new(HttpErrorKind::Unknown, e))?;
        let peer = self.peer(request.uri(), &url);
        let known = self.way.known.load(Ordering::Relaxed);
        let time = if known { ANSWER_MAX } else { STRANGER_ANSWER_MAX }
            + self.way.upload_max(request.body().content_length() as u64);
        let answer = self.waiting(&peer, time, self.execute(url, request)).await;
        if answer.is_ok() {
            self.way.known.store(true, Ordering::Relaxed);
        }
        match answer {
            Ok(response) if response.status().is_success() => {
                hear(None);
                Ok(response)
            }
            Ok(response) => self.refused(peer, response).await,
            Err(e) => {
                let unconnected = e.kind() == HttpErrorKind::Connect;
                hear(Some(Heard::Silence { peer, text: chain(&e), unconnected }));
                Err(e)
            }
        }
    }
}

impl Courier {
    fn peer(&self, uri: &Uri, url: &Url) -> Peer {
        let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
        Peer {
            host: uri.host().unwrap_or_default().to_owned(),
            proxy: self.way.proxies.to(url).map(ToString::to_string),
            gives_credentials: self.way.is_giver(url),
            authority,
        }
    }

    async fn execute(&self, url: Url, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let bytes = match body.as_bytes() {
            Some(bytes) => bytes.clone(),
            None => body.collect().await?.to_bytes(),
        };
        let mut request = reqwest::Request::new(parts.method, url);
        *request.headers_mut() = parts.headers;
        *request.body_mut() = Some(self.way.outgoing(bytes));
        let answer = self.client.execute(request).await.map_err(broken)?;
        let (parts, body) = http::Response::<reqwest::Body>::from(answer).into_parts();
        Ok(HttpResponse::from_parts(parts, HttpResponseBody::new(body.map_err(broken))))
    }

    /// Waits for `work`. Whoever spoke to this place for the first time hears that it is silent: it may be misspelt.
    async fn waiting(
        &self,
        peer: &Peer,
        time: Duration,
        work: impl Future<Output = Result<HttpResponse, HttpError>> + Send,
    ) -> Result<HttpResponse, HttpError> {
        let world = &self.way.world;
        let mut work: Pin<&mut _> = pin!(work);
        let mut left = time;
        if !self.way.known.load(Ordering::Relaxed) {
            if let Some(answer) = within(world, TOLD_AFTER, work.as_mut()).await {
                return answer;
            }
            world.report(Step::Notice(&format!("{peer} does not answer yet; Ctrl-C ends the wait")));
            left = left.saturating_sub(TOLD_AFTER);
        }
        within(world, left, work).await.unwrap_or_else(|| Err(late(time)))
    }

    /// Reads the refusal, notes it, and hands it on whole.
    async fn refused(&self, peer: Peer, response: HttpResponse) -> Result<HttpResponse, HttpError> {
        let (parts, body) = response.into_parts();
        let limited = http_body_util::Limited::new(body, REFUSAL_BYTES_MAX);
        let read = within(&self.way.world, SILENCE_MAX, BodyExt::collect(limited)).await;
        // A refusal without its reason is still a refusal.
        let body = read.and_then(Result::ok).map(|whole| whole.to_bytes()).unwrap_or_default();
        let text = String::from_utf8_lossy(&body);
        let ours = self.way.world.now_ns().div_euclid(SECOND_NS);
        let refusal = Refusal {
            status: parts.status,
            code: code(&text),
            message: message(&text),
            wait: wait(&parts.headers, ours),
            clocks: date(&parts.headers, DATE).map(|theirs| (ours, theirs)),
        };
        hear(Some(Heard::Refusal(peer, refusal)));
        Ok(HttpResponse::from_parts(parts, body.into()))
    }
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.authority)?;
        self.proxy.iter().try_for_each(|proxy| write!(f, " through the proxy {proxy}"))
    }
}

const SECOND_NS: i64 = 1_000_000_000;

/// What `Retry-After` says: seconds, or a moment by the server's clock.
fn wait(headers: &HeaderMap, ours: i64) -> Option<Duration> {
    let said = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = said.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let left = date(headers, RETRY_AFTER)?.saturating_sub(date(headers, DATE).unwrap_or(ours));
    Some(Duration::from_secs(u64::try_from(left).unwrap_or(0)))
}

/// A date in a header (RFC 9110), in UTC seconds since 1970.
fn date(headers: &HeaderMap, name: http::HeaderName) -> Option<i64> {
    let text = headers.get(name)?.to_str().ok()?;
    let parsed = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(parsed.as_second())
}

/// Says what happened to a request; its URL is told elsewhere, as it may hold signatures.
fn broken(e: reqwest::Error) -> HttpError {
    let kind = match () {
        () if e.is_connect() => HttpErrorKind::Connect,
        () if e.is_timeout() => HttpErrorKind::Timeout,
        () if e.is_decode() => HttpErrorKind::Decode,
        () => HttpErrorKind::Interrupted,
    };
    HttpError::new(kind, e.without_url())
}

#[derive(Debug, thiserror::Error)]
#[error("no answer within {} s", .0.as_secs())]
struct Late(Duration);

fn late(time: Duration) -> HttpError {
    HttpError::new(HttpErrorKind::Timeout, Late(time))
}

/// An error and its causes in one line, without repetitions.
pub(super) fn chain(e: &dyn std::error::Error) -> String {
    let mut told = e.to_string();
    let mut cause = e.source();
    while let Some(e) = cause {
        let more = e.to_string();
        if !told.contains(&more) {
            told = format!("{told}: {more}");
        }
        cause = e.source();
    }
    told
}

/// The code in a refusal: XML of S3 and Azure, JSON of Google.
fn code(text: &str) -> String {
    let code = between(text, "<Code>", "</Code>").or_else(|| between(text, "\"reason\": \"", "\""));
    code.unwrap_or_default().to_owned()
}

/// The message in a refusal, or its beginning where it has no form that we know.
fn message(text: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 200;
    let message = between(text, "<Message>", "</Message>").or_else(|| between(text, "\"message\": \"", "\""));
    let plain = message.unwrap_or(text).trim().chars().filter(|c| !c.is_control());
    plain.take(SHOWN_CHARS_MAX).collect()
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    Some(text.split_once(before)?.1.split_once(after)?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_and_message_of_a_refusal_are_found() {
        let s3 =
            "<?xml version=\"1.0\"?><Error><Code>NoSuchKey</Code><Message>It is not there.</Message></Error>";
        assert_eq!((&*code(s3), &*message(s3)), ("NoSuchKey", "It is not there."));
        let gcs = "{\"error\": {\"message\": \"No such bucket\", \"errors\": [{\"reason\": \"notFound\"}]}}";
        assert_eq!((&*code(gcs), &*message(gcs)), ("notFound", "No such bucket"));
        assert_eq!(
            (&*code("<html>\nBad gateway"), &*message("<html>\nBad gateway")),
            ("", "<html>Bad gateway")
        );
        assert_eq!(message(&"x".repeat(1_000)).len(), 200);
    }

    #[tokio::test]
    async fn what_is_heard_last_counts_and_only_within_its_call() {
        let silence =
            |text: &str| Heard::Silence { peer: Peer::default(), text: text.into(), unconnected: false };
        let (_, heard) = listening(async {
            hear(Some(silence("first")));
            hear(Some(silence("second")));
        })
        .await;
        assert!(matches!(heard, Some(Heard::Silence { text, .. }) if text == "second"));
        let (_, heard) = listening(async {
            hear(Some(silence("first")));
            hear(None);
        })
        .await;
        assert!(heard.is_none());
        hear(Some(silence("nobody listens")));
    }

    #[test]
    fn a_server_says_how_long_to_wait_in_seconds_or_by_its_own_clock() {
        let headers = |rows: &[(http::HeaderName, &'static str)]| {
            rows.iter().map(|(name, text)| (name.clone(), text.parse().unwrap())).collect::<HeaderMap>()
        };
        let (now, later) = ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:50:07 GMT");
        let seconds = |n| Some(Duration::from_secs(n));
        for (rows, ours, asked) in [
            (&[(RETRY_AFTER, "7")][..], 0, seconds(7)),
            (&[(RETRY_AFTER, later), (DATE, now)], 0, seconds(30)),
            (&[(RETRY_AFTER, later)], 784_111_777, seconds(30)),
            (&[(RETRY_AFTER, now), (DATE, later)], 0, seconds(0)),
            (&[(RETRY_AFTER, "soon")], 0, None),
            (&[], 0, None),
        ] {
            assert_eq!(wait(&headers(rows), ours), asked, "{rows:?}");
        }
    }
}
