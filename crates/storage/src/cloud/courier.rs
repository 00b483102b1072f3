//! The way of one HTTP request: how long it may take, and what the server really said.
//!
//! The timeouts of the HTTP client count the upload of a body as waiting, so a large object on a slow line
//! would always fail. Here the time allowed grows with the body. And since the library above keeps the status
//! of an answer to itself, the last refusal of each call is noted here, where the caller of [`listening`]
//! finds it.

use std::cell::RefCell;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::{Either, select};
use http::StatusCode;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
    ReqwestConnector,
};
use world::World;

/// Longest time for an answer to begin, after the body was sent.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// Longest silence within a body that comes.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(60);
/// An upload slower than 128 KiB/s (1 Mbit/s) is taken for a broken line.
const UPLOAD_BYTES_PER_SECOND_MIN: u64 = 128 * 1024;
/// Refusals are short; more of them is not read.
const REFUSAL_BYTES_MAX: usize = 64 * 1024;

/// What went wrong on the way, if anything did.
#[derive(Clone, Debug)]
pub(super) enum Heard {
    /// The server's refusal.
    Refusal {
        host: String,
        status: StatusCode,
        /// The provider's code, as in `NoSuchKey`; empty where it gave none.
        code: String,
        message: String,
    },
    /// No answer, or none that could be read.
    Silence { host: String, text: String },
    /// No credentials to sign the request with.
    NoCredentials { text: String },
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
pub(super) struct Couriers {
    pub(super) world: World,
}

impl HttpConnector for Couriers {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Courier { client, world: self.world.clone() }))
    }
}

#[derive(Debug)]
struct Courier {
    client: HttpClient,
    world: World,
}

#[async_trait]
impl HttpService for Courier {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let host = request.uri().host().unwrap_or_default().to_owned();
        let upload_s = request.body().content_length() as u64 / UPLOAD_BYTES_PER_SECOND_MIN;
        let time = ANSWER_MAX + Duration::from_secs(upload_s);
        let answer = within(&self.world, time, self.client.execute(request)).await;
        let answer = answer.unwrap_or_else(|| Err(late(time)));
        match answer {
            Ok(response) if response.status().is_success() => {
                hear(None);
                Ok(response)
            }
            Ok(response) => self.refused(host, response).await,
            Err(e) => {
                hear(Some(Heard::Silence { host, text: chain(&e) }));
                Err(e)
            }
        }
    }
}

impl Courier {
    /// Reads the refusal, notes it, and hands it on whole.
    async fn refused(&self, host: String, response: HttpResponse) -> Result<HttpResponse, HttpError> {
        let (parts, body) = response.into_parts();
        let limited = http_body_util::Limited::new(body, REFUSAL_BYTES_MAX);
        let read = within(&self.world, SILENCE_MAX, http_body_util::BodyExt::collect(limited)).await;
        // A refusal without its reason is still a refusal.
        let body = read.and_then(Result::ok).map(|whole| whole.to_bytes()).unwrap_or_default();
        let text = String::from_utf8_lossy(&body);
        hear(Some(Heard::Refusal { host, status: parts.status, code: code(&text), message: message(&text) }));
        Ok(HttpResponse::from_parts(parts, body.into()))
    }
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
        let silence = |text: &str| Heard::Silence { host: "h".into(), text: text.into() };
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
}
