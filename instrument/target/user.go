package target

import (
	"errors"
	"fmt"
	"os/user"
	"strconv"
	"strings"
	"syscall"
)

// lookUser finds whom a command is to run as: an account by its name or user id,
// with its group and supplementary groups, or UID:GID without any more groups.
func lookUser(name string) (*syscall.Credential, error) {
	if uid, gid, ok := strings.Cut(name, ":"); ok {
		u, err := parseID(uid)
		if err != nil {
			return nil, fmt.Errorf("user %s: %w", name, err)
		}
		g, err := parseID(gid)
		if err != nil {
			return nil, fmt.Errorf("user %s: %w", name, err)
		}
		return &syscall.Credential{Uid: u, Gid: g}, nil
	}
	account, err := user.Lookup(name)
	if errors.As(err, new(user.UnknownUserError)) {
		_, notID := parseID(name)
		if notID != nil {
			return nil, fmt.Errorf("user %s: there is no such account", name)
		}
		account, err = user.LookupId(name)
		if errors.As(err, new(user.UnknownUserIdError)) {
			return nil, fmt.Errorf("user %s: no account has that id: give the group, too, as %s:GID", name, name)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("user %s: %w", name, err)
	}
	return credential(account)
}

func credential(account *user.User) (*syscall.Credential, error) {
	ids, err := account.GroupIds()
	if err != nil {
		return nil, fmt.Errorf("groups of user %s: %w", account.Username, err)
	}
	c := &syscall.Credential{}
	if c.Uid, err = parseID(account.Uid); err != nil {
		return nil, fmt.Errorf("user %s: %w", account.Username, err)
	}
	if c.Gid, err = parseID(account.Gid); err != nil {
		return nil, fmt.Errorf("user %s: %w", account.Username, err)
	}
	for _, id := range ids {
		group, err := parseID(id)
		if err != nil {
			return nil, fmt.Errorf("groups of user %s: %w", account.Username, err)
		}
		c.Groups = append(c.Groups, group)
	}
	return c, nil
}

// parseID parses a user or group id. The greatest number means "no id" to the
// kernel (setuid(2)).
func parseID(text string) (uint32, error) {
	id, err := strconv.ParseUint(text, 10, 32)
	if err != nil || id == 1<<32-1 {
		return 0, fmt.Errorf("%q is no user or group id", text)
	}
	return uint32(id), nil
}
