"""What has been computed, as DVC records it in dvc.lock, its cache and its run-cache.

DVC is imported here and in flows/fsck only.
"""
