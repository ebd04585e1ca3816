/* PyTorch checkpoints: a state dict as torch.save writes it, in the zip format (PyTorch 1.6 and later) or the older one
 * of pickles end to end. Nothing in them is executed (pickle.h); tensors are views of the file.
 *
 * Zip: NAME/data.pkl is the pickled state dict, NAME/data/KEY the bytes of a storage, NAME/byteorder "little".
 * Older: pickles of a magic number, a protocol version, the sizes of types, the state dict and the storages' keys; then for
 * each key a u64 number of items and the items.
 * Source: torch/serialization.py (_save, _legacy_save).
 * Left out: tensors whose items are not contiguous, big-endian files, TorchScript archives; all refused with their reason. */
#ifndef FINCH_TENSOR_TORCH_ZIP_H
#define FINCH_TENSOR_TORCH_ZIP_H

#include "base/bytes.h"
#include "tensor/tensor_list.h"

/* Whether the file begins like one of the two formats. */
bool torch_zip_is(bytes file);

/* Appends the state dict's tensors; a dict with the key "state_dict" is read through it. path is for messages.
 * Errors: FINCH_E_DATA, FINCH_E_UNSUPPORTED, FINCH_E_MEMORY. */
finch_status torch_zip_read(bytes file, const char *path, tensor_list *out, finch_error *err);

#endif
