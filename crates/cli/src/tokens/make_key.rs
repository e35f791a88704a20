//! `tidings key`: makes a key of tokens.

use std::error::Error;
use std::path::PathBuf;

use aws_lc_rs::encoding::AsBigEndian;
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
};

use super::algorithm::Algorithm;
use super::jwk::{Jwk, encode};
use super::key::MIN_SECRET_BYTES;
use super::key_file::{NewFile, create_all};

/// Makes a key that signs tokens, in a new file that only you can read.
///
/// With `HS256`, `tidings serve` needs the same file. With `ES256` or `EdDSA`, give it the file of
/// `--public`, which can sign nothing.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The new file, a JWK.
    file: PathBuf,

    /// How the key signs.
    #[arg(
        long,
        value_name = "ALGORITHM",
        value_enum,
        ignore_case = true,
        default_value_t = Algorithm::Hs256
    )]
    algorithm: Algorithm,

    /// The name of the key, by which a server with several keys finds it. [default: a random one]
    #[arg(long, value_name = "ID", value_parser = parse_id)]
    kid: Option<String>,

    /// Another new file, for the public key alone.
    #[arg(long, value_name = "FILE")]
    public: Option<PathBuf>,
}

fn parse_id(text: &str) -> Result<String, &'static str> {
    let is_id = (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    is_id
        .then(|| text.to_owned())
        .ok_or("expected 1 to 255 letters, digits and signs of ASCII")
}

pub(crate) fn run(args: Args) -> Result<(), Box<dyn Error>> {
    if args.public.is_some() && args.algorithm == Algorithm::Hs256 {
        let message =
            "a key of HS256 is a secret and has no public part; use --algorithm ES256 or EdDSA\n";
        clap::Error::raw(clap::error::ErrorKind::ArgumentConflict, message).exit();
    }
    let jwk = generate(args.algorithm, args.kid).map_err(|_| "no key could be made")?;
    // A server must be able to read the key.
    jwk.to_key()?;
    let mut files = vec![NewFile {
        path: &args.file,
        text: text(&jwk)?,
        is_secret: true,
    }];
    if let (Some(path), Some(public)) = (&args.public, jwk.to_public()) {
        files.push(NewFile {
            path,
            text: text(&public)?,
            is_secret: false,
        });
    }
    create_all(&files)?;
    Ok(())
}

fn text(jwk: &Jwk) -> Result<String, serde_json::Error> {
    serde_json::to_string(jwk).map(|text| text + "\n")
}

fn generate(algorithm: Algorithm, id: Option<String>) -> Result<Jwk, Unspecified> {
    let id = match id {
        Some(id) => id,
        None => encode(&random::<9>()?),
    };
    let named = Jwk {
        id: Some(id),
        algorithm: Some(algorithm.name().into()),
        usage: Some("sig".into()),
        ..Jwk::default()
    };
    match algorithm {
        Algorithm::Hs256 => Ok(Jwk {
            key_type: "oct".into(),
            k: Some(encode(&random::<MIN_SECRET_BYTES>()?)),
            ..named
        }),
        Algorithm::Es256 => {
            let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
            // 4, and then both coordinates.
            let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
            Ok(Jwk {
                key_type: "EC".into(),
                curve: Some("P-256".into()),
                x: Some(encode(x)),
                y: Some(encode(y)),
                d: Some(encode(pair.private_key().as_be_bytes()?.as_ref())),
                ..named
            })
        }
        Algorithm::EdDsa => {
            let pair = Ed25519KeyPair::generate()?;
            Ok(Jwk {
                key_type: "OKP".into(),
                curve: Some("Ed25519".into()),
                x: Some(encode(pair.public_key().as_ref())),
                d: Some(encode(pair.seed()?.as_be_bytes()?.as_ref())),
                ..named
            })
        }
    }
}

fn random<const N: usize>() -> Result<[u8; N], Unspecified> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes)?;
    Ok(bytes)
}
