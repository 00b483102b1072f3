//! The S3 protocol over the shelf: the operations that a backup engine and its peers use.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Crc64Nvme};
use s3s::dto::*;
use s3s::{S3, S3Error, S3Request, S3Response, S3Result, s3_error};

use super::orders::{Conditions, Desk};
use super::shelf::{Condition, Kept, Refusal, Shelf};

pub(super) struct Verbs {
    pub(super) shelf: Arc<Shelf>,
    pub(super) desk: Arc<Desk>,
    pub(super) uploads: Uploads,
}

/// Parts of uploads that are not complete yet, by upload and number.
pub(super) type Uploads = Mutex<BTreeMap<String, BTreeMap<i32, (String, Bytes)>>>;

const PAGE_KEYS_MAX: i32 = 1_000;

impl From<Refusal> for S3Error {
    fn from(refusal: Refusal) -> S3Error {
        match refusal {
            Refusal::NoBucket => s3_error!(NoSuchBucket, "The bucket does not exist."),
            Refusal::NoObject => s3_error!(NoSuchKey, "The object does not exist."),
            Refusal::Condition => s3_error!(PreconditionFailed, "The condition does not hold."),
            Refusal::Io(e) => S3Error::internal_error(e),
        }
    }
}

impl Verbs {
    fn condition(&self, absent: &Option<ETagCondition>, tag: &Option<ETagCondition>) -> S3Result<Condition> {
        if absent.is_none() && tag.is_none() {
            return Ok(Condition::Always);
        }
        match self.desk.orders().conditions {
            Conditions::Ignored => Ok(Condition::Always),
            Conditions::Refused => Err(s3_error!(NotImplemented, "Conditions are refused on order.")),
            Conditions::Honoured => match (absent, tag) {
                (Some(ETagCondition::Any), None) => Ok(Condition::Absent),
                (None, Some(ETagCondition::Any)) => Ok(Condition::Tag(None)),
                (None, Some(ETagCondition::ETag(tag))) => Ok(Condition::Tag(Some(tag.value().to_owned()))),
                _ => Err(s3_error!(NotImplemented, "This condition is not known.")),
            },
        }
    }

    /// Stores an upload, or only says so.
    fn store(&self, bucket: &str, key: &str, bytes: Bytes, condition: &Condition) -> S3Result<Option<Kept>> {
        if self.desk.is_full(key) {
            self.desk.count(|counts| counts.spoiled += 1);
            let mut full = s3_error!(InternalError, "No room on order.");
            full.set_status_code(http::StatusCode::INSUFFICIENT_STORAGE);
            return Err(full);
        }
        if self.desk.loses(key) {
            self.desk.count(|counts| counts.spoiled += 1);
            return Ok(None);
        }
        Ok(Some(self.shelf.put(bucket, key, bytes, condition, self.desk.world.now_ns())?))
    }

    fn page(&self, input: &ListObjectsV2Input) -> S3Result<Page> {
        let prefix = input.prefix.as_deref().unwrap_or_default();
        let after = input.continuation_token.as_deref().or(input.start_after.as_deref()).unwrap_or_default();
        let behind_ns =
            i64::try_from(self.desk.orders().list_behind_ms).unwrap_or(i64::MAX).saturating_mul(1_000_000);
        let newest_ns = self.desk.world.now_ns().saturating_sub(behind_ns);
        let keys_max = input.max_keys.unwrap_or(PAGE_KEYS_MAX).clamp(0, PAGE_KEYS_MAX) as usize;
        let mut page = Page::default();
        for (key, kept) in self.shelf.list(&input.bucket, prefix, after)? {
            if behind_ns > 0 && kept.modified_ns > newest_ns {
                continue;
            }
            if page.folded(&key, prefix, after, input.delimiter.as_deref()) {
                continue;
            }
            if page.objects.len() + page.folders.len() >= keys_max {
                page.truncated = true;
                break;
            }
            page.add(key, kept, prefix, input.delimiter.as_deref());
        }
        Ok(page)
    }
}

/// One page of a listing.
#[derive(Default)]
struct Page {
    objects: Vec<(String, Kept)>,
    folders: Vec<String>,
    truncated: bool,
    last: String,
}

fn folder_of<'a>(key: &'a str, prefix: &str, delimiter: Option<&str>) -> Option<&'a str> {
    let delimiter = delimiter.filter(|delimiter| !delimiter.is_empty())?;
    let end = key[prefix.len()..].find(delimiter)? + prefix.len() + delimiter.len();
    Some(&key[..end])
}

impl Page {
    /// Whether the key lies in a folder that was listed already, on this page or before.
    fn folded(&self, key: &str, prefix: &str, after: &str, delimiter: Option<&str>) -> bool {
        folder_of(key, prefix, delimiter)
            .is_some_and(|folder| after == folder || self.folders.last().is_some_and(|last| last == folder))
    }

    fn add(&mut self, key: String, kept: Kept, prefix: &str, delimiter: Option<&str>) {
        match folder_of(&key, prefix, delimiter).map(str::to_owned) {
            Some(folder) => {
                self.last = folder.clone();
                self.folders.push(folder);
            }
            None => {
                self.last = key.clone();
                self.objects.push((key, kept));
            }
        }
    }
}

fn time(ns: i64) -> Timestamp {
    let since = Duration::from_nanos(u64::try_from(ns).unwrap_or(0));
    Timestamp::from(SystemTime::UNIX_EPOCH + since)
}

/// A whole upload; one that came in one piece is not copied.
async fn collected(body: Option<StreamingBlob>) -> S3Result<Bytes> {
    let Some(mut body) = body else { return Ok(Bytes::new()) };
    let cut = |e| s3_error!(IncompleteBody, "The body ended early: {e}");
    let first = body.try_next().await.map_err(cut)?.unwrap_or_default();
    let Some(second) = body.try_next().await.map_err(cut)? else { return Ok(first) };
    let mut whole = BytesMut::from(&first[..]);
    whole.extend_from_slice(&second);
    while let Some(more) = body.try_next().await.map_err(cut)? {
        whole.extend_from_slice(&more);
    }
    Ok(whole.freeze())
}

fn check_crc(bytes: &[u8], stated: &Option<String>) -> S3Result<()> {
    let Some(stated) = stated else { return Ok(()) };
    let mut hasher = ChecksumHasher { crc64nvme: Some(Crc64Nvme::new()), ..ChecksumHasher::default() };
    hasher.update(bytes);
    if hasher.finalize().checksum_crc64nvme.as_ref() == Some(stated) {
        Ok(())
    } else {
        Err(s3_error!(BadDigest, "The checksum is not that of the body."))
    }
}

#[async_trait::async_trait]
impl S3 for Verbs {
    async fn create_bucket(
        &self,
        request: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        self.shelf.add_bucket(&request.input.bucket).map_err(S3Error::internal_error)?;
        Ok(S3Response::new(CreateBucketOutput::default()))
    }

    async fn head_bucket(
        &self,
        request: S3Request<HeadBucketInput>,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        if self.shelf.bucket_names().contains(&request.input.bucket) {
            Ok(S3Response::new(HeadBucketOutput::default()))
        } else {
            Err(Refusal::NoBucket.into())
        }
    }

    async fn list_buckets(&self, _: S3Request<ListBucketsInput>) -> S3Result<S3Response<ListBucketsOutput>> {
        let bucket = |name| Bucket { name: Some(name), ..Bucket::default() };
        let buckets = self.shelf.bucket_names().into_iter().map(bucket).collect();
        Ok(S3Response::new(ListBucketsOutput { buckets: Some(buckets), ..ListBucketsOutput::default() }))
    }

    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let input = request.input;
        let condition = self.condition(&input.if_none_match, &input.if_match)?;
        let bytes = collected(input.body).await?;
        check_crc(&bytes, &input.checksum_crc64nvme)?;
        let kept = self.store(&input.bucket, &input.key, bytes, &condition)?;
        let e_tag = kept.map_or("lost".to_owned(), |kept| kept.etag);
        Ok(S3Response::new(PutObjectOutput {
            e_tag: Some(ETag::Strong(e_tag)),
            ..PutObjectOutput::default()
        }))
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let input = request.input;
        let kept = self.shelf.find(&input.bucket, &input.key)?;
        let (range, content_range) = match input.range {
            None => (0..kept.size, None),
            Some(range) => {
                let beyond = |_| s3_error!(InvalidRange, "The object has {} bytes.", kept.size);
                let range = range.check(kept.size).map_err(beyond)?;
                let shown = format!("bytes {}-{}/{}", range.start, range.end.saturating_sub(1), kept.size);
                (range, Some(shown))
            }
        };
        if range.is_empty() && content_range.is_some() {
            return Err(s3_error!(InvalidRange, "The object has no bytes."));
        }
        let bytes = kept.read(range).map_err(S3Error::internal_error)?;
        Ok(S3Response::new(GetObjectOutput {
            content_length: Some(bytes.len() as i64),
            content_range,
            accept_ranges: Some("bytes".to_owned()),
            body: Some(StreamingBlob::from(s3s::Body::from(bytes))),
            e_tag: Some(ETag::Strong(kept.etag)),
            last_modified: Some(time(kept.modified_ns)),
            ..GetObjectOutput::default()
        }))
    }

    async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let kept = self.shelf.find(&request.input.bucket, &request.input.key)?;
        Ok(S3Response::new(HeadObjectOutput {
            content_length: Some(kept.size as i64),
            accept_ranges: Some("bytes".to_owned()),
            e_tag: Some(ETag::Strong(kept.etag)),
            last_modified: Some(time(kept.modified_ns)),
            ..HeadObjectOutput::default()
        }))
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        let page = self.page(&input)?;
        let object = |(key, kept): (String, Kept)| Object {
            key: Some(key),
            size: Some(kept.size as i64),
            e_tag: Some(ETag::Strong(kept.etag)),
            last_modified: Some(time(kept.modified_ns)),
            ..Object::default()
        };
        let key_count = (page.objects.len() + page.folders.len()) as i32;
        let folder = |prefix| CommonPrefix { prefix: Some(prefix) };
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: input.prefix,
            delimiter: input.delimiter,
            max_keys: Some(input.max_keys.unwrap_or(PAGE_KEYS_MAX)),
            key_count: Some(key_count),
            continuation_token: input.continuation_token,
            is_truncated: Some(page.truncated),
            next_continuation_token: page.truncated.then_some(page.last),
            contents: Some(page.objects.into_iter().map(object).collect()),
            common_prefixes: Some(page.folders.into_iter().map(folder).collect()),
            start_after: input.start_after,
            ..ListObjectsV2Output::default()
        }))
    }

    async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.shelf.remove(&request.input.bucket, &request.input.key)?;
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let input = request.input;
        let mut deleted = Vec::new();
        for object in input.delete.objects {
            self.shelf.remove(&input.bucket, &object.key)?;
            deleted.push(DeletedObject { key: Some(object.key), ..DeletedObject::default() });
        }
        Ok(S3Response::new(DeleteObjectsOutput { deleted: Some(deleted), ..DeleteObjectsOutput::default() }))
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let mut uploads = self.uploads.lock().expect("no holder of this lock panics");
        let id = format!("upload-{:016x}-{}", self.desk.world.now_ns(), uploads.len());
        uploads.insert(id.clone(), BTreeMap::new());
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(request.input.bucket),
            key: Some(request.input.key),
            upload_id: Some(id),
            ..CreateMultipartUploadOutput::default()
        }))
    }

    async fn upload_part(
        &self,
        request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        let input = request.input;
        let bytes = collected(input.body).await?;
        check_crc(&bytes, &input.checksum_crc64nvme)?;
        let mut uploads = self.uploads.lock().expect("no holder of this lock panics");
        let parts = uploads.get_mut(&input.upload_id).ok_or_else(|| s3_error!(NoSuchUpload))?;
        let etag = format!("{:016x}{:08x}", self.desk.world.now_ns(), input.part_number);
        parts.insert(input.part_number, (etag.clone(), bytes));
        Ok(S3Response::new(UploadPartOutput {
            e_tag: Some(ETag::Strong(etag)),
            ..UploadPartOutput::default()
        }))
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = request.input;
        let condition = self.condition(&input.if_none_match, &input.if_match)?;
        let named = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        let parts = {
            let uploads = self.uploads.lock().expect("no holder of this lock panics");
            uploads.get(&input.upload_id).cloned().ok_or_else(|| s3_error!(NoSuchUpload))?
        };
        let mut whole = BytesMut::new();
        for part in &named {
            let there = part.part_number.and_then(|number| parts.get(&number));
            let (etag, bytes) = there.ok_or_else(|| s3_error!(InvalidPart))?;
            if part.e_tag.as_ref().is_some_and(|tag| tag.value() != etag) {
                return Err(s3_error!(InvalidPart));
            }
            whole.extend_from_slice(bytes);
        }
        let kept = self.store(&input.bucket, &input.key, whole.freeze(), &condition)?;
        self.uploads.lock().expect("no holder of this lock panics").remove(&input.upload_id);
        Ok(S3Response::new(CompleteMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: Some(ETag::Strong(kept.map_or("lost".to_owned(), |kept| kept.etag))),
            ..CompleteMultipartUploadOutput::default()
        }))
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        self.uploads.lock().expect("no holder of this lock panics").remove(&request.input.upload_id);
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }
}
