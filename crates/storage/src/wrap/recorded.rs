//! Remembers every call in order, for tests that ask what was done and when.

use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;

use super::{Answer, Call, Layer};
use crate::{Error, Store, Verb};

/// One call that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The verb.
    pub verb: Verb,
    /// The key, or for a listing the prefix.
    pub object: String,
    /// Bytes sent, or bytes that came back.
    pub bytes: u64,
    /// Whether it succeeded.
    pub done: bool,
}

/// A store that remembers.
#[derive(Debug)]
pub struct Recorded {
    inner: Arc<dyn Store>,
    taken: Mutex<Vec<Taken>>,
}

impl Recorded {
    /// Puts a memory around `inner`.
    pub fn new(inner: Arc<dyn Store>) -> Recorded {
        Recorded { inner, taken: Mutex::default() }
    }

    /// All calls so far, in the order in which they ended; they are forgotten by this.
    pub fn take(&self) -> Vec<Taken> {
        std::mem::take(&mut *self.taken())
    }

    fn taken(&self) -> MutexGuard<'_, Vec<Taken>> {
        self.taken.lock().expect("no holder of this lock panics")
    }
}

#[async_trait]
impl Layer for Recorded {
    fn inner(&self) -> &Arc<dyn Store> {
        &self.inner
    }

    async fn call(&self, call: Call<'_>) -> Result<Answer, Error> {
        let (verb, bytes_up) = (call.verb(), call.bytes_up());
        let object = match &call {
            Call::List(prefix) => prefix.as_str().to_owned(),
            other => other.object(),
        };
        let answer = call.perform(&*self.inner).await;
        let bytes = bytes_up + answer.as_ref().map_or(0, Answer::bytes_down);
        self.taken().push(Taken { verb, object, bytes, done: answer.is_ok() });
        answer
    }
}
