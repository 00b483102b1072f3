//! The few words around CBOR that every record needs: one error, byte strings of fixed length, whole-input decoding.

use minicbor::{Decode, Decoder, Encode, Encoder};

/// Bytes that are not what they should be: damaged, hostile, or of another version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed {what}: {why}")]
pub struct Malformed {
    /// The kind of thing that was to be read.
    pub what: &'static str,
    /// What is wrong with it.
    pub why: String,
}

impl Malformed {
    /// `what` is malformed because of `why`.
    pub fn new(what: &'static str, why: impl Into<String>) -> Malformed {
        Malformed { what, why: why.into() }
    }
}

/// The bytes of a record.
pub(crate) fn encode<T: Encode<()>>(record: &T) -> Vec<u8> {
    minicbor::to_vec(record).expect("records encode into memory without error")
}

/// A record that starts `bytes`, and the rest after it.
pub(crate) fn decode_prefix<'b, T: Decode<'b, ()>>(
    what: &'static str,
    bytes: &'b [u8],
) -> Result<(T, &'b [u8]), Malformed> {
    let mut decoder = Decoder::new(bytes);
    let record = decoder.decode().map_err(|e| Malformed::new(what, e.to_string()))?;
    let rest = bytes.get(decoder.position()..).unwrap_or_default();
    Ok((record, rest))
}

/// A record that is all of `bytes`.
pub(crate) fn decode<'b, T: Decode<'b, ()>>(what: &'static str, bytes: &'b [u8]) -> Result<T, Malformed> {
    match decode_prefix(what, bytes)? {
        (record, []) => Ok(record),
        (_, rest) => Err(Malformed::new(what, format!("{} bytes too many", rest.len()))),
    }
}

/// A record followed by zero bytes only.
pub(crate) fn decode_padded<'b, T: Decode<'b, ()>>(
    what: &'static str,
    bytes: &'b [u8],
) -> Result<T, Malformed> {
    let (record, rest) = decode_prefix(what, bytes)?;
    if rest.iter().any(|&b| b != 0) {
        return Err(Malformed::new(what, "padding is not zero"));
    }
    Ok(record)
}

/// A byte string of exactly `N` bytes; for keys, salts and signatures in records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fixed<const N: usize>(pub(crate) [u8; N]);

impl<C, const N: usize> Encode<C> for Fixed<N> {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(&self.0)?;
        Ok(())
    }
}

impl<'b, C, const N: usize> Decode<'b, C> for Fixed<N> {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Fixed<N>, minicbor::decode::Error> {
        let bytes = d.bytes()?;
        bytes
            .try_into()
            .map(Fixed)
            .map_err(|_| minicbor::decode::Error::message("byte string of wrong length"))
    }
}

/// A byte string of any length, owned.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Octets(pub(crate) Vec<u8>);

impl<C> Encode<C> for Octets {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(&self.0)?;
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for Octets {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Octets, minicbor::decode::Error> {
        Ok(Octets(d.bytes()?.to_vec()))
    }
}

/// An element as it is stored, to be read once it is known what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verbatim(pub(crate) Vec<u8>);

impl<C> Encode<C> for Verbatim {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.writer_mut().write_all(&self.0).map_err(minicbor::encode::Error::write)
    }
}

impl<'b, C> Decode<'b, C> for Verbatim {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Verbatim, minicbor::decode::Error> {
        let start = d.position();
        d.skip()?;
        Ok(Verbatim(d.input().get(start..d.position()).unwrap_or_default().to_vec()))
    }
}

/// A record as a later program may write it: with one element more. Its last one is not absent, or nulls would have to stand
/// for what was left out.
#[cfg(test)]
pub(crate) fn with_one_more(record: &[u8]) -> Vec<u8> {
    let mut decoder = Decoder::new(record);
    let length = decoder.array().unwrap().expect("records have a definite length");
    let mut encoder = Encoder::new(Vec::new());
    encoder.array(length + 1).unwrap();
    let mut longer = encoder.into_writer();
    longer.extend_from_slice(&record[decoder.position()..]);
    longer.extend_from_slice(&minicbor::to_vec(["of", "a later program"]).unwrap());
    longer
}
