"""Names of folders that are left out below a local folder; see `system_folders`. Help shows them."""

SYSTEM_FOLDERS = (
    *("@eaDir", "#recycle", "#snapshot", "@tmp"),  # Synology
    *("@Recycle", "@Recently-Snapshot", ".@__thumb"),  # QNAP
    *(".stversions", ".stfolder"),  # Syncthing
    *(".sync", ".dropbox.cache", ".owncloudsync", ".SeaDrive-cache"),  # Resilio, Dropbox, ownCloud, Seafile
    *(".snapshot", ".snapshots", "~snapshot", ".zfs"),  # file systems that keep their past
    *(".Trash", ".Trashes", ".Trash-*", "$RECYCLE.BIN", "lost+found"),  # deleted, or found after a crash
    *(".thumbnails", ".thumbs", ".AppleDouble", "__MACOSX", "System Volume Information"),  # desktops
)
