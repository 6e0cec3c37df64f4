//! Key files that we and others make.

use std::path::Path;

use crate::harness::{
    branches::write,
    clients,
    geth::{Geth, VERSIONS},
    key::Key,
    node::{run_with_input, shown, succeed},
    text,
};

const PASSWORD: &str = "correct horse";

/// What a key signs with geth is recovered to this address by geth.
fn geth_signs(geth: &Geth, address: &str, password: &str) {
    // geth 1.9.13 mistakes some addresses in personal.sign, so this unlocks first.
    let expression = format!(
        "personal.unlockAccount(\"{address}\", \"{password}\"); \
         personal.ecRecover(\"0xdeadbeef\", eth.sign(\"{address}\", \"0xdeadbeef\"))"
    );
    assert_eq!(geth.evaluate(&expression), address.to_lowercase());
}

fn geth_with_keys<'a>(folder: &'a Path, version: &'a str) -> Geth {
    Geth::new(version, &folder.join(version))
}

#[test]
fn others_open_our_key_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let password = write(folder.path(), "password", PASSWORD);
    for (index, kdf) in [&["--lightkdf"][..], &[]].into_iter().enumerate() {
        let key = Key::fixed(u8::try_from(index).expect("a small number") + 10);
        let secret = write(folder.path(), "secret", key.hex());
        for version in VERSIONS {
            let keystore = folder.path().join(version).join("keystore");
            let args =
                ["account", "import", "--keystore", text(&keystore), "--password", &password];
            succeed(&[&args[..], kdf, &[&secret]].concat());
            let geth = geth_with_keys(folder.path(), version);
            let address = key.address().to_string();
            let listed = geth.succeed(&["account", "list"]);
            assert!(listed.contains(&format!("{:x}", key.address())), "{version}: {listed}");
            geth_signs(&geth, &address, PASSWORD);
        }
    }
    let keystore = folder.path().join(VERSIONS[0]).join("keystore");
    for file in keystore.read_dir().expect("a folder") {
        let file = file.expect("it is readable").path();
        clients::decrypts(&file, &password);
    }
}

#[test]
fn we_open_geths_key_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let password = write(folder.path(), "password", PASSWORD);
    for version in VERSIONS {
        let geth = geth_with_keys(folder.path(), version);
        geth.succeed(&["account", "new", "--lightkdf", "--password", &password]);
        let datadir = folder.path().join(version);
        let listed = succeed(&["account", "list", "--datadir", text(&datadir)]);
        let address = listed.split(['{', '}']).nth(1).expect("an address in braces").to_owned();
        let args = ["account", "update", "--lightkdf", "--datadir", text(&datadir), &address];
        let wrong = run_with_input(&args, "no\nno\nno\n");
        assert_eq!(wrong.status.code(), Some(1), "{}", shown(&wrong));
        let input = format!("{PASSWORD}\nanother\nanother\n");
        let updated = run_with_input(&args, &input);
        assert!(updated.status.success(), "{}", shown(&updated));
        geth_signs(&geth, &format!("0x{address}"), "another");
    }
}
