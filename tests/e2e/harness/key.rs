use alloy_consensus::{SignableTransaction, Signed, TxEip1559, TxLegacy};
use alloy_eips::eip2718::Encodable2718;
use primitives::{Address, Bytes, Signature, Transaction, TxKind, U256, keccak256};
use secp256k1::{Message, PublicKey, SECP256K1, SecretKey};

/// A gwei, in wei.
pub(crate) const GWEI: u128 = 1_000_000_000;

/// A key that signs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key(SecretKey);

impl Key {
    /// One of many fixed keys.
    pub(crate) fn fixed(index: u8) -> Self {
        let mut secret = [0x42; 32];
        secret[31] = index;
        Self(SecretKey::from_byte_array(&secret).expect("the key is in range"))
    }

    /// A key as the development chain prints it.
    pub(crate) fn from_hex(text: &str) -> Self {
        Self(text.trim_start_matches("0x").parse().expect("a secret key"))
    }

    /// The secret, as hex without prefix.
    pub(crate) fn hex(&self) -> String {
        self.0.display_secret().to_string()
    }

    /// The account that it controls.
    pub(crate) fn address(&self) -> Address {
        let public = PublicKey::from_secret_key(SECP256K1, &self.0).serialize_uncompressed();
        Address::from_slice(&keccak256(&public[1..])[12..])
    }

    /// Signs any transaction.
    pub(crate) fn sign<T: SignableTransaction<Signature>>(&self, tx: T) -> Transaction
    where
        Transaction: From<Signed<T>>,
    {
        let message = Message::from_digest(tx.signature_hash().0);
        let (recovery, bytes) =
            SECP256K1.sign_ecdsa_recoverable(&message, &self.0).serialize_compact();
        let odd = i32::from(recovery) & 1 == 1;
        tx.into_signed(Signature::from_bytes_and_parity(&bytes, odd)).into()
    }

    /// A plain transfer of one wei for 10 gwei of gas price.
    pub(crate) fn transfer(&self, chain_id: u64, nonce: u64, to: Address) -> Transaction {
        self.sign(TxLegacy {
            chain_id: Some(chain_id),
            nonce,
            gas_price: 10 * GWEI,
            gas_limit: 21_000,
            to: TxKind::Call(to),
            value: U256::from(1),
            input: Bytes::new(),
        })
    }

    /// A transfer by London's rules.
    pub(crate) fn transfer_1559(&self, chain_id: u64, nonce: u64, to: Address) -> Transaction {
        self.sign(TxEip1559 {
            chain_id,
            nonce,
            gas_limit: 21_000,
            max_fee_per_gas: 20 * GWEI,
            max_priority_fee_per_gas: GWEI,
            to: TxKind::Call(to),
            value: U256::from(1),
            ..TxEip1559::default()
        })
    }
}

/// A transaction as `eth_sendRawTransaction` wants it.
pub(crate) fn raw(tx: &Transaction) -> String {
    format!("0x{}", hex(&tx.encoded_2718()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
