use alloy_rlp::{EMPTY_STRING_CODE, Header};
use alloy_trie::{Nibbles, nodes::RlpNode};
use primitives::B256;

/// First byte of the RLP of a hash.
const HASH_CODE: u8 = EMPTY_STRING_CODE + 32;

/// A place in the trie: empty, a node that is not loaded, or a node.
#[derive(Debug, Default)]
pub(super) enum Node {
    /// Nothing is here.
    #[default]
    Empty,
    /// A node that the reader has, by its hash.
    Hash(B256),
    /// The rest of one key, and its value.
    Leaf(Box<Leaf>),
    /// Nibbles that everything below shares.
    Extension(Box<Extension>),
    /// A place for each next nibble.
    Branch(Box<Branch>),
}

/// What the trie knows about a loaded node beside its content.
#[derive(Debug, Default)]
pub(super) struct Meta {
    /// What the parent holds: the RLP of the node or of its hash. Empty until it is hashed again.
    pub(super) reference: RlpNode,
    /// Hash of the record that lay at this path at the last take, if one did.
    pub(super) saved: Option<B256>,
    /// Whether this node or one below may differ from what was taken.
    pub(super) unsaved: bool,
}

#[derive(Debug)]
pub(super) struct Leaf {
    pub(super) meta: Meta,
    pub(super) path: Nibbles,
    pub(super) value: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct Extension {
    pub(super) meta: Meta,
    pub(super) path: Nibbles,
    pub(super) child: Node,
}

#[derive(Debug)]
pub(super) struct Branch {
    pub(super) meta: Meta,
    pub(super) children: [Node; 16],
    /// The value of the key that ends here. Keys of one length have none.
    pub(super) value: Option<Vec<u8>>,
}

impl Meta {
    /// Of a node that was just made, at a path whose record had this hash.
    pub(super) fn made(saved: Option<B256>) -> Self {
        Self { saved, unsaved: true, ..Self::default() }
    }

    /// Forgets the hash: the content is about to change.
    pub(super) fn touch(&mut self) {
        self.reference = RlpNode::default();
        self.unsaved = true;
    }
}

impl Node {
    pub(super) fn leaf(path: Nibbles, value: Vec<u8>, saved: Option<B256>) -> Self {
        Self::Leaf(Box::new(Leaf { meta: Meta::made(saved), path, value }))
    }

    pub(super) fn extension(path: Nibbles, child: Self, saved: Option<B256>) -> Self {
        Self::Extension(Box::new(Extension { meta: Meta::made(saved), path, child }))
    }

    pub(super) fn meta(&self) -> Option<&Meta> {
        match self {
            Self::Empty | Self::Hash(_) => None,
            Self::Leaf(leaf) => Some(&leaf.meta),
            Self::Extension(extension) => Some(&extension.meta),
            Self::Branch(branch) => Some(&branch.meta),
        }
    }

    pub(super) fn meta_mut(&mut self) -> Option<&mut Meta> {
        match self {
            Self::Empty | Self::Hash(_) => None,
            Self::Leaf(leaf) => Some(&mut leaf.meta),
            Self::Extension(extension) => Some(&mut extension.meta),
            Self::Branch(branch) => Some(&mut branch.meta),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    /// Reads the RLP of a stored node whose hash was checked; `None` if it is no node.
    pub(super) fn decode(rlp: &[u8], hash: B256) -> Option<Self> {
        let reference = RlpNode::from_raw(rlp).filter(|_| rlp.len() < 32);
        let reference = reference.unwrap_or_else(|| RlpNode::word_rlp(&hash));
        decode(rlp, Meta { reference, saved: Some(hash), unsaved: false })
    }
}

impl Branch {
    pub(super) fn new() -> Self {
        Self { meta: Meta::made(None), children: Default::default(), value: None }
    }

    /// Puts a value where the rest of its key leads. The place must be free.
    pub(super) fn place(&mut self, rest: Nibbles, value: Vec<u8>) {
        match rest.first() {
            None => self.value = Some(value),
            Some(nibble) => {
                self.children[usize::from(nibble)] = Node::leaf(rest.slice(1..), value, None);
            }
        }
    }

    /// Makes it a node, behind an extension if there is a prefix, at a path whose record had this
    /// hash.
    pub(super) fn behind(mut self, prefix: Nibbles, saved: Option<B256>) -> Node {
        if prefix.is_empty() {
            self.meta.saved = saved;
            return Node::Branch(Box::new(self));
        }
        Node::extension(prefix, Node::Branch(Box::new(self)), saved)
    }
}

/// One item of a list with its header.
fn split_item<'a>(list: &mut &'a [u8]) -> Option<&'a [u8]> {
    let mut rest = *list;
    let header = Header::decode(&mut rest).ok()?;
    let item_length = list.len() - rest.len() + header.payload_length;
    let (item, rest) = list.split_at_checked(item_length)?;
    *list = rest;
    Some(item)
}

fn decode(rlp: &[u8], meta: Meta) -> Option<Node> {
    let mut rest = rlp;
    let mut list = Header::decode_bytes(&mut rest, true).ok()?;
    if !rest.is_empty() {
        return None;
    }
    let mut items: [&[u8]; 17] = [&[]; 17];
    let mut count = 0;
    while !list.is_empty() {
        *items.get_mut(count)? = split_item(&mut list)?;
        count += 1;
    }
    match count {
        2 => decode_short(items[0], items[1], meta),
        17 => decode_branch(&items, meta),
        _ => None,
    }
}

fn decode_short(path: &[u8], content: &[u8], meta: Meta) -> Option<Node> {
    let (path, is_leaf) = decode_path(decode_string(path)?)?;
    if is_leaf {
        let value = decode_string(content)?.to_vec();
        return Some(Node::Leaf(Box::new(Leaf { meta, path, value })));
    }
    let child = decode_child(content)?;
    if path.is_empty() || child.is_empty() {
        return None;
    }
    Some(Node::Extension(Box::new(Extension { meta, path, child })))
}

fn decode_branch(items: &[&[u8]; 17], meta: Meta) -> Option<Node> {
    let mut branch = Branch { meta, ..Branch::new() };
    for (child, item) in branch.children.iter_mut().zip(items) {
        *child = decode_child(item)?;
    }
    let value = decode_string(items[16])?;
    branch.value = (!value.is_empty()).then(|| value.to_vec());
    Some(Node::Branch(Box::new(branch)))
}

/// A child is nothing, a hash, or a node of less than 32 bytes in place.
fn decode_child(item: &[u8]) -> Option<Node> {
    match item {
        [EMPTY_STRING_CODE] => Some(Node::Empty),
        [HASH_CODE, hash @ ..] => Some(Node::Hash(B256::try_from(hash).ok()?)),
        _ if item.len() < 32 => {
            let reference = RlpNode::from_raw(item)?;
            decode(item, Meta { reference, ..Meta::default() })
        }
        _ => None,
    }
}

fn decode_string(item: &[u8]) -> Option<&[u8]> {
    let mut rest = item;
    Header::decode_bytes(&mut rest, false).ok()
}

/// The hex-prefix encoding of the Yellow Paper, appendix C.
fn decode_path(encoded: &[u8]) -> Option<(Nibbles, bool)> {
    let (&first, rest) = encoded.split_first()?;
    if first > 0x3f || rest.len() > 32 {
        return None;
    }
    let mut path = Nibbles::new();
    if first & 0x10 != 0 {
        path.push(first & 0x0f);
    }
    if path.len() + rest.len() * 2 > 64 {
        return None;
    }
    path.extend(&Nibbles::unpack(rest));
    Some((path, first & 0x20 != 0))
}
