package consensus

import "github.com/staddle/staddle/types"

// listed are the roles whose accounts are drawn from, in order of their bits.
var listed = []types.Roles{types.RoleHost, types.RoleEncoder, types.RoleValidator, types.RoleSponsor, types.RoleRelay}

// register is the rule of kind 3. The one device that acts for the account is
// named here; another takes over when the old one was silent for two full
// epochs, measured by the account's last committed log (K2).
func (s *state) register(r *request, b *types.Register) (effect, error) {
	if b.Device.IsZero() {
		return nil, refuse("registration names no device")
	}
	old, err := s.Registry(r.Sender)
	if err != nil {
		return nil, err
	}
	if b.SpendLimit > 0 && b.SpendLimit < leastLimit {
		return nil, refuse("spend limit of %s below the least %s", b.SpendLimit, types.Amount(leastLimit))
	}
	if err := s.checkTakeover(r, b, old); err != nil {
		return nil, err
	}
	if err := s.checkHosting(r, b); err != nil {
		return nil, err
	}
	rec := &types.RegistryRecord{Register: *b, Time: s.head.Time, From: s.epoch + types.Epoch(s.Rules.RegisterDelay)}
	had := types.Roles(0)
	if old != nil {
		had, rec.From = old.Register.Roles, max(old.From, rec.From)
		if old.From <= s.epoch {
			rec.From = old.From // a change of an acting registration counts at once
		}
	}
	return func() error {
		if err := s.put(keyRegistry(r.Sender), rec); err != nil {
			return err
		}
		if err := s.relist(r.Sender, had, b.Roles); err != nil {
			return err
		}
		return s.change(r.Sender, func(a *types.AccountRecord) {
			a.Payout = b.Payout
			s.setLimit(a, b.SpendLimit)
			if !b.Recovery.IsZero() {
				a.Recovery = b.Recovery
			}
		})
	}, nil
}

const silentEpochs = 2

func (s *state) checkTakeover(r *request, b *types.Register, old *types.RegistryRecord) error {
	if old == nil || old.Register.Device == b.Device || old.Register.Roles == 0 {
		return nil
	}
	for e := s.epoch; e+silentEpochs >= s.epoch; e-- {
		c, err := s.Claim(e, r.Sender)
		if err != nil {
			return err
		}
		if c != nil {
			return refuse("the device before acted in epoch %d, another may take over %d full epochs later", e, silentEpochs)
		}
		if e == 0 {
			break
		}
	}
	return nil
}

// checkHosting keeps an account that has lots among the hosts, who are judged
// each epoch: it leaves by kind 10 first.
func (s *state) checkHosting(r *request, b *types.Register) error {
	if b.Roles&types.RoleHost != 0 {
		return nil
	}
	h, err := s.Host(r.Sender)
	if err != nil {
		return err
	}
	if h.Lots > 0 {
		return refuse("a host of %d lots gives up its role: it leaves first", h.Lots)
	}
	return nil
}

func (s *state) relist(a types.Account, had, has types.Roles) error {
	for _, role := range listed {
		switch {
		case has&role != 0 && had&role == 0:
			if err := s.listAdd(listRole(role), types.Hash(a)); err != nil {
				return err
			}
		case has&role == 0 && had&role != 0:
			if err := s.listRemove(listRole(role), types.Hash(a)); err != nil {
				return err
			}
		}
	}
	return nil
}
