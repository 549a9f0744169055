"""OCI images on disk: blobs by digest, in a layout folder or a tar."""
