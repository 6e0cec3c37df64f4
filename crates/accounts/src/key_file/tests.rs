use std::time::Instant;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::Kdf;

/// The vectors of ethereum/tests, and geth's for short keys and for version 1.
const VECTORS: &str = include_str!("vectors/keys.json");

/// A V3 file with n = 2, so that tests are quick. Its password is empty.
const LIGHT: &str = r#"{"address":"45dea0fb0bba44f4fcf290bba71fd57d7117cbb8","crypto":{"cipher":"aes-128-ctr","ciphertext":"b87781948a1befd247bff51ef4063f716cf6c2d3481163e9a8f42e1f9bb74145","cipherparams":{"iv":"dc4926b48a105133d2f16b96833abf1e"},"kdf":"scrypt","kdfparams":{"dklen":32,"n":2,"p":1,"r":8,"salt":"004244bbdc51cadda545b1cfa43cff9ed2ae88e08c61f1479dbb45410722f8f0"},"mac":"39990c1684557447940d4c69e06b1b82b2aceacb43f284df65c956daf3046b85"},"id":"ce541d8d-c79b-40f8-9f8c-20f59616faba","version":3}"#;

/// The error of parsing the light file with one text replaced.
fn error_with(from: &str, to: &str) -> KeyFileError {
    assert!(LIGHT.contains(from), "{from} is in the file");
    KeyFile::parse(LIGHT.replace(from, to).as_bytes()).err().expect("the file is wrong")
}

#[test]
fn opens_every_published_vector() {
    let vectors: Value = serde_json::from_str(VECTORS).unwrap();
    for (name, vector) in vectors.as_object().unwrap() {
        let file = KeyFile::parse(vector["json"].to_string().as_bytes())
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let secret = file
            .decrypt(vector["password"].as_str().unwrap())
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let expect = vector["priv"].as_str().unwrap().trim_start_matches("0x");
        assert_eq!(hex::encode(secret.as_bytes()), format!("{expect:0>64}"), "{name}");
    }
}

#[test]
fn opens_upper_case_names_and_digits_and_prefixed_hex() {
    let mut shouting = LIGHT.to_uppercase();
    for word in ["aes-128-ctr", "scrypt"] {
        shouting = shouting.replace(&word.to_uppercase(), word);
    }
    let prefixed = LIGHT.replace("\"b877", "\"0xb877").replace("\"dc49", "\"0xdc49");
    for content in [&shouting, &prefixed] {
        assert!(KeyFile::parse(content.as_bytes()).unwrap().decrypt("").is_ok(), "{content}");
    }
    assert_eq!(address_of(shouting.as_bytes()), address_of(LIGHT.as_bytes()));
}

#[test]
fn refuses_a_wrong_password_and_a_changed_file() {
    let open = |content: &str, password| {
        KeyFile::parse(content.as_bytes()).unwrap().decrypt(password).map(|secret| secret.address())
    };
    assert!(open(LIGHT, "").is_ok());
    assert_eq!(open(LIGHT, "x"), Err(KeyFileError::Password));
    assert_eq!(open(&LIGHT.replace("39990c", "39990d"), ""), Err(KeyFileError::Password));
    assert_eq!(open(&LIGHT.replace("b87781", "b87782"), ""), Err(KeyFileError::Password));
    assert_eq!(open(&LIGHT.replace("6b85\"", "\""), ""), Err(KeyFileError::Password));
    // The check does not cover the initialisation vector: another key comes out, and the keystore
    // notices that by its address.
    assert_ne!(open(&LIGHT.replace("dc4926", "dc4927"), ""), open(LIGHT, ""));
}

#[test]
fn refuses_a_derivation_that_would_take_too_much_and_is_quick_about_it() {
    let started = Instant::now();
    for (from, to) in [
        ("\"n\":2", "\"n\":1073741824"),
        ("\"r\":8", "\"r\":1048576000"),
        ("\"p\":1", "\"p\":1048576"),
    ] {
        assert_eq!(error_with(from, to), KeyFileError::Costly);
    }
    let pbkdf2 = r#""kdf":"pbkdf2","kdfparams":{"c":2147483648,"prf":"hmac-sha256","dklen":32,"#;
    let from = r#""kdf":"scrypt","kdfparams":{"dklen":32,"n":2,"p":1,"r":8,"#;
    assert_eq!(error_with(from, pbkdf2), KeyFileError::Costly);
    assert!(started.elapsed().as_secs() < 1, "nothing was derived");
}

#[test]
fn refuses_parameters_that_make_no_sense() {
    let field = |field| KeyFileError::Field { field };
    let check = |from, to, expect| assert_eq!(error_with(from, to), expect, "{to}");
    check("\"dklen\":32", "\"dklen\":0", field("dklen"));
    check("\"dklen\":32", "\"dklen\":31", field("dklen"));
    check("\"dklen\":32", "\"dklen\":2147483648", field("dklen"));
    check("\"n\":2", "\"n\":3", field("kdfparams"));
    check("\"n\":2", "\"n\":\"2\"", field("n"));
    check("\"n\":2", "\"n\":-2", field("n"));
    check("\"n\":2,", "", field("n"));
    check("dc4926b48a105133d2f16b96833abf1e", "dc49", field("iv"));
    check("39990c", "3999zz", field("mac"));
    check("\"crypto\"", "\"crypt\"", field("crypto"));
    check(":3}", ":4}", KeyFileError::Version { version: "4".into() });
    check(":3}", ":\"1\"}", KeyFileError::Cipher { cipher: "aes-128-ctr".into() });
    check("aes-128-ctr", "rot13", KeyFileError::Cipher { cipher: "rot13".into() });
    check("\"scrypt\"", "\"argon2\"", KeyFileError::Kdf { kdf: "argon2".into() });
    let odd = r#""kdf":"pbkdf2","kdfparams":{"c":1,"prf":"hmac-md5","#;
    let expect = KeyFileError::Kdf { kdf: "pbkdf2 with hmac-md5".into() };
    check(r#""kdf":"scrypt","kdfparams":{"#, odd, expect);
    assert_eq!(KeyFile::parse(b"").err(), Some(KeyFileError::Json));
    let large = usize::try_from(KEY_FILE_BYTES_MAX).unwrap();
    assert_eq!(KeyFile::parse(&vec![b' '; large]).err(), Some(KeyFileError::Json));
    assert_eq!(KeyFile::parse(&vec![b' '; large + 1]).err(), Some(KeyFileError::Size));
}

#[test]
fn refuses_a_content_that_is_no_key() {
    let derivation = Derivation::scrypt(2, 8, 1, vec![1]).unwrap();
    let derived = derivation.derive("");
    let open = |plain: &[u8]| {
        let mut ciphertext = plain.to_vec();
        counter_mode(&derived, &[0; 16], &mut ciphertext);
        let mac = mac(&derived, &ciphertext).to_vec();
        let (derivation, mode) = (derivation.clone(), Mode::Counter);
        KeyFile { derivation, mode, iv: [0; 16], ciphertext, mac }.decrypt("")
    };
    assert!(open(&[1; 32]).is_ok());
    assert!(open(&[1; 16]).is_ok());
    for plain in [&[1; 33][..], &[0; 32], &[255; 32], &[]] {
        assert_eq!(open(plain).err(), Some(KeyFileError::Content), "{plain:?}");
    }
}

#[test]
fn takes_the_address_only_from_a_file_that_claims_one() {
    let address = |content: &str| address_of(content.as_bytes()).ok();
    assert!(address(LIGHT).is_some());
    assert!(address(&LIGHT.replace(":\"45de", ":\"0x45DE")).is_some());
    assert_eq!(address(&LIGHT.replace("\"address\"", "\"adress\"")), None);
    assert_eq!(address(&LIGHT.replace("45dea0fb", "")), None);
    assert_eq!(address(&format!("{{\"address\":\"{:040}\"}}", 0)), None);
    assert_eq!(address("[]"), None);
}

#[test]
fn writes_what_geth_writes() {
    let content = encrypt(&Secret::random(), "password", &Kdf::Light.derivation());
    let file: Value = serde_json::from_str(&content).unwrap();
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&file), ["address", "crypto", "id", "version"]);
    assert_eq!(
        keys(&file["crypto"]),
        ["cipher", "cipherparams", "ciphertext", "kdf", "kdfparams", "mac"]
    );
    let params = &file["crypto"]["kdfparams"];
    assert_eq!(keys(params), ["dklen", "n", "p", "r", "salt"]);
    assert_eq!(
        [&params["dklen"], &params["n"], &params["p"], &params["r"]].map(Value::as_u64),
        [Some(32), Some(4096), Some(6), Some(8)]
    );
    assert_eq!(content.len(), 489, "{content}");
    let Derivation::Scrypt { log_n, r, p, salt } = Kdf::Standard.derivation() else {
        panic!("standard is scrypt")
    };
    assert_eq!((1 << log_n, r, p, salt.len()), (262_144, 8, 1, 32));
}

proptest! {
    #[test]
    fn opens_what_it_wrote(key in prop::array::uniform32(1_u8..), password in ".{0,40}") {
        let secret = Secret::from_bytes(&key).or_else(|_| Secret::from_bytes(&[1; 32])).unwrap();
        for derivation in [
            Derivation::scrypt(4, 2, 1, vec![7; 32]).unwrap(),
            Derivation::pbkdf2(2, vec![7; 32]).unwrap(),
        ] {
            let content = encrypt(&secret, &password, &derivation);
            prop_assert_eq!(address_of(content.as_bytes()).unwrap(), secret.address());
            let opened = KeyFile::parse(content.as_bytes()).unwrap().decrypt(&password).unwrap();
            prop_assert_eq!(opened.as_bytes(), secret.as_bytes());
        }
    }

    #[test]
    fn never_panics_on_a_strangers_file(content in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = KeyFile::parse(&content);
        let _ = address_of(&content);
    }

    #[test]
    fn never_panics_on_a_damaged_file(position in 0..LIGHT.len(), byte in any::<u8>()) {
        let mut content = LIGHT.as_bytes().to_vec();
        content[position] = byte;
        if let Ok(file) = KeyFile::parse(&content) {
            let _ = file.decrypt("");
        }
    }
}
