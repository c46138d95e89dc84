// Checks a published log with Go's own packages for transparency logs, which share no line with Pictor.
//
//	verifier FOLDER VKEY OLD_CHECKPOINT RECEIPT...
//
// It walks every tile and every entry, never a sample: one flipped bit must not get through by luck.
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8

// folder reads tiles as c2sp.org/tlog-tiles has them. Go's paths have the height in them.
type folder string

func (f folder) Height() int                      { return height }
func (f folder) SaveTiles([]tlog.Tile, [][]byte)  {}
func (f folder) read(name string) ([]byte, error) { return os.ReadFile(filepath.Join(string(f), name)) }
func (f folder) ReadTiles(tiles []tlog.Tile) (data [][]byte, err error) {
	for _, tile := range tiles {
		body, err := f.read(strings.Replace(tile.Path(), "tile/8/", "tile/", 1))
		if err != nil {
			return nil, err
		}
		data = append(data, body)
	}
	return data, nil
}

func main() {
	if err := check(folder(os.Args[1]), os.Args[2], os.Args[3], os.Args[4:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func check(log folder, vkey, oldFile string, receipts []string) error {
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return err
	}
	text, err := log.read("checkpoint")
	if err != nil {
		return err
	}
	tree, err := openCheckpoint(text, verifier)
	if err != nil {
		return err
	}
	hashes := tlog.TileHashReader(tree, log)
	if err := checkEntries(log, tree); err != nil {
		return err
	}
	if err := checkOld(oldFile, verifier, tree, hashes); err != nil {
		return err
	}
	for _, receipt := range receipts {
		if err := checkReceipt(receipt, verifier); err != nil {
			return fmt.Errorf("%s: %w", receipt, err)
		}
	}
	fmt.Printf("%d entries, %d receipts\n", tree.N, len(receipts))
	return nil
}

func openCheckpoint(text []byte, verifier note.Verifier) (tlog.Tree, error) {
	opened, err := note.Open(text, note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() {
		return tlog.Tree{}, fmt.Errorf("not a checkpoint of %s", verifier.Name())
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return tlog.Tree{}, err
	}
	root, err := tlog.ParseHash(lines[2])
	return tlog.Tree{N: size, Hash: root}, err
}

// checkEntries builds the tree from the entries, and compares all tiles with it. TileHashReader would do that for
// us, but version 0.7.0 believes some tiles as they are: it skips as many as the tree has peaks.
func checkEntries(log folder, tree tlog.Tree) error {
	hashes := []tlog.Hash{}
	for first := int64(0); first < tree.N; first += 1 << height {
		entries, err := readEntries(log, first>>height, width(tree.N-first))
		if err != nil {
			return err
		}
		for _, entry := range entries {
			hashes = append(hashes, tlog.RecordHash(entry))
		}
	}
	if root(hashes) != tree.Hash {
		return fmt.Errorf("the entries do not make the root")
	}
	for level := 0; len(hashes) > 0; level++ {
		above := []tlog.Hash{}
		for first := int64(0); first < int64(len(hashes)); first += 1 << height {
			part := hashes[first:]
			part = part[:width(int64(len(part)))]
			tile := tlog.Tile{H: height, L: level, N: first >> height, W: len(part)}
			data, err := log.ReadTiles([]tlog.Tile{tile})
			if err != nil {
				return err
			}
			if !bytes.Equal(data[0], join(part)) {
				return fmt.Errorf("inconsistent tile %s", tile.Path())
			}
			if len(part) == 1<<height {
				above = append(above, root(part))
			}
		}
		hashes = above
	}
	return nil
}

func width(rest int64) int {
	if rest > 1<<height {
		return 1 << height
	}
	return int(rest)
}

func join(hashes []tlog.Hash) (all []byte) {
	for _, hash := range hashes {
		all = append(all, hash[:]...)
	}
	return all
}

// root is RFC 6962 section 2.1.
func root(hashes []tlog.Hash) tlog.Hash {
	if len(hashes) == 1 {
		return hashes[0]
	}
	left := 1
	for 2*left < len(hashes) {
		left *= 2
	}
	return tlog.NodeHash(root(hashes[:left]), root(hashes[left:]))
}

func readEntries(log folder, number int64, width int) (entries [][]byte, err error) {
	path := strings.Replace(tlog.Tile{H: height, L: -1, N: number, W: width}.Path(), "tile/8/data/", "tile/entries/", 1)
	bundle, err := log.read(path)
	if err != nil {
		return nil, err
	}
	for len(bundle) >= 2 {
		end := 2 + int(binary.BigEndian.Uint16(bundle))
		if end > len(bundle) {
			break
		}
		entries, bundle = append(entries, bundle[2:end]), bundle[end:]
	}
	if len(entries) != width || len(bundle) != 0 {
		return nil, fmt.Errorf("%s has %d entries, not %d", path, len(entries), width)
	}
	return entries, nil
}

func checkOld(file string, verifier note.Verifier, tree tlog.Tree, hashes tlog.HashReader) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	old, err := openCheckpoint(text, verifier)
	if err != nil {
		return err
	}
	proof, err := tlog.ProveTree(tree.N, old.N, hashes)
	if err != nil {
		return err
	}
	return tlog.CheckTree(proof, tree.N, tree.Hash, old.N, old.Hash)
}

// checkReceipt reads a .tlog-proof. Who made it gives the entry's hash in FILE.leaf.
func checkReceipt(file string, verifier note.Verifier) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	head, checkpoint, _ := bytes.Cut(text, []byte("\n\n"))
	tree, err := openCheckpoint(checkpoint, verifier)
	if err != nil {
		return err
	}
	var index int64
	var proof tlog.RecordProof
	for number, line := range strings.Split(string(head), "\n") {
		switch {
		case number == 0 && line != "c2sp.org/tlog-proof@v1":
			return fmt.Errorf("not a proof: %s", line)
		case number == 0 || strings.HasPrefix(line, "extra "):
		case strings.HasPrefix(line, "index "):
			if index, err = strconv.ParseInt(line[len("index "):], 10, 64); err != nil {
				return err
			}
		default:
			hash, err := tlog.ParseHash(line)
			if err != nil {
				return err
			}
			proof = append(proof, hash)
		}
	}
	encoded, err := os.ReadFile(file + ".entry")
	if err != nil {
		return err
	}
	entry, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(encoded)))
	if err != nil {
		return err
	}
	return tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(entry))
}
