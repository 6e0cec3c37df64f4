use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use primitives::{B256, Bytes, U256};
use state::{Account, LayerView, Nibbles, ReadError, StateReader, StorageOwner};

use crate::{
    LAYERS_MAX, StorageError, View,
    flat::{Flat, Overlay},
    history,
    schema::{Column, path_key, slot_node_key},
};

/// The state after one block, as one view shows it.
#[derive(Clone)]
pub struct StateAt {
    view: View,
    place: Place,
    /// What differs from the base; made when somebody asks for more than single values.
    overlay: Arc<OnceLock<Arc<Overlay>>>,
}

/// Where the block is, seen from the base.
#[derive(Clone)]
enum Place {
    /// It is the base.
    Base,
    /// Above: these layers lie over the base.
    Above(LayerView),
    /// Below, on the canonical chain at this height.
    Below(u64),
}

impl StateAt {
    pub(crate) fn base(view: View) -> Self {
        Self::new(view, Place::Base)
    }

    pub(crate) fn layered(view: View, layers: LayerView) -> Self {
        Self::new(view, Place::Above(layers))
    }

    pub(crate) fn past(view: View, number: u64) -> Self {
        Self::new(view, Place::Below(number))
    }

    fn new(view: View, place: Place) -> Self {
        Self { view, place, overlay: Arc::default() }
    }

    /// All accounts whose hash of the address is not before `start`, in the order of these hashes.
    ///
    /// Far below the base the first call takes as long as reading all changes in between.
    pub fn accounts_from(
        &self,
        start: B256,
    ) -> impl Iterator<Item = Result<(B256, Account), StorageError>> {
        flatten(self.overlay().map(|overlay| Flat::accounts(&self.view, overlay, start)))
    }

    /// All slots of one life of an account that are not zero, in the order of the slots' hashes.
    ///
    /// As [`Self::accounts_from`].
    pub fn slots_of(
        &self,
        owner: StorageOwner,
    ) -> impl Iterator<Item = Result<(B256, U256), StorageError>> {
        self.slots_from(owner, B256::ZERO)
    }

    /// [`Self::slots_of`] without those whose hash is before `start`.
    pub fn slots_from(
        &self,
        owner: StorageOwner,
        start: B256,
    ) -> impl Iterator<Item = Result<(B256, U256), StorageError>> {
        flatten(self.overlay().map(|overlay| Flat::slots(&self.view, overlay, owner, start)))
    }

    fn overlay(&self) -> Result<&Overlay, StorageError> {
        if let Some(overlay) = self.overlay.get() {
            return Ok(overlay);
        }
        let overlay: Arc<Overlay> = match &self.place {
            Place::Base => Arc::default(),
            Place::Above(layers) => self.view.overlay_of(layers),
            Place::Below(number) => Arc::new(Overlay::below(&self.view, *number)?),
        };
        Ok(self.overlay.get_or_init(|| overlay))
    }

    /// The view that this state is read through.
    #[must_use]
    pub const fn view(&self) -> &View {
        &self.view
    }

    fn base_node(
        &self,
        owner: Option<StorageOwner>,
        path: &Nibbles,
    ) -> Result<Option<Bytes>, StorageError> {
        let pinned = self.view.pinned();
        let node = match owner {
            None => pinned.record(Column::AccountNodes, &path_key(path))?,
            Some(owner) => pinned.record(Column::SlotNodes, &slot_node_key(owner, path))?,
        };
        Ok(node.map(|node| Bytes::copy_from_slice(&node)))
    }
}

impl StateReader for StateAt {
    fn account(&self, address_hash: B256) -> Result<Option<Account>, ReadError> {
        let account = match &self.place {
            Place::Base => history::base_account(&self.view, address_hash)?,
            Place::Above(layers) => match layers.account(address_hash) {
                Some(account) => account,
                None => history::base_account(&self.view, address_hash)?,
            },
            Place::Below(number) => history::account_at(&self.view, *number, address_hash)?,
        };
        Ok(account)
    }

    fn slot(&self, owner: StorageOwner, slot_hash: B256) -> Result<U256, ReadError> {
        let value = match &self.place {
            Place::Base => history::base_slot(&self.view, owner, slot_hash)?,
            Place::Above(layers) => match layers.slot(owner, slot_hash) {
                Some(value) => value,
                None => history::base_slot(&self.view, owner, slot_hash)?,
            },
            Place::Below(number) => history::slot_at(&self.view, *number, owner, slot_hash)?,
        };
        Ok(value)
    }

    fn node(
        &self,
        owner: Option<StorageOwner>,
        path: &Nibbles,
    ) -> Result<Option<Bytes>, ReadError> {
        let node = match &self.place {
            Place::Base => self.base_node(owner, path)?,
            Place::Above(layers) => match layers.node(owner, path) {
                Some(node) => node,
                None => self.base_node(owner, path)?,
            },
            Place::Below(_) => return Err(ReadError::NodesPruned { kept: LAYERS_MAX }),
        };
        Ok(node)
    }

    fn code(&self, code_hash: B256) -> Result<Option<Bytes>, ReadError> {
        // Code is written to its column with the block that brought it.
        Ok(self.view.code(code_hash)?)
    }
}

impl fmt::Debug for StateAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match &self.place {
            Place::Base => "base",
            Place::Above(_) => "above",
            Place::Below(_) => "below",
        };
        f.debug_struct("StateAt").field("view", &self.view).field("place", &place).finish()
    }
}

/// The items of what was made, or the error of making it as the only one.
fn flatten<V: Copy>(
    made: Result<Flat<'_, V>, StorageError>,
) -> impl Iterator<Item = Result<(B256, V), StorageError>> {
    let (flat, error) = match made {
        Ok(flat) => (Some(flat), None),
        Err(error) => (None, Some(Err(error))),
    };
    error.into_iter().chain(flat.into_iter().flatten())
}
