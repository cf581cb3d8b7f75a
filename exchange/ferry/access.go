package ferry

import (
	"context"
	"fmt"
	"slices"

	"github.com/IBM/sarama"
)

// grant is one wanted permission.
type grant struct {
	principal string
	resource  sarama.AclResourceType
	pattern   sarama.AclResourcePatternType
	name      string
	operation sarama.AclOperation
}

func (g grant) String() string {
	return fmt.Sprintf("allow %s %s on %s %s %q", g.principal, g.operation.String(), g.pattern.String(), g.resource.String(), g.name)
}

// grants are what fronts and gateways need, and no more: a front reads its own
// requests and answers anywhere, a gateway the other way round.
func (l Layout) grants() []grant {
	const topic, literal, prefixed = sarama.AclResourceTopic, sarama.AclPatternLiteral, sarama.AclPatternPrefixed
	var out []grant
	for _, f := range l.Fronts {
		for _, p := range f.Principals {
			for _, t := range []string{RequestTopic(f.Name), DeferredRequestTopic(f.Name)} {
				out = append(out, grant{p, topic, literal, t, sarama.AclOperationRead}, grant{p, topic, literal, t, sarama.AclOperationDelete})
			}
			for _, g := range []string{f.Name, f.Name + ".deferred"} {
				out = append(out, grant{p, sarama.AclResourceGroup, literal, g, sarama.AclOperationRead})
			}
			out = append(out, grant{p, topic, prefixed, "xg.rep.", sarama.AclOperationWrite},
				grant{p, topic, literal, TopicControl, sarama.AclOperationWrite},
				grant{p, topic, literal, TopicDeadLetter, sarama.AclOperationWrite})
		}
	}
	for _, p := range l.Gateways {
		out = append(out, grant{p, topic, prefixed, "xg.req.", sarama.AclOperationWrite},
			grant{p, topic, prefixed, "xg.rep.", sarama.AclOperationRead},
			grant{p, topic, prefixed, "xg.rep.", sarama.AclOperationDelete},
			grant{p, topic, literal, TopicControl, sarama.AclOperationRead},
			grant{p, sarama.AclResourceGroup, literal, deferredGroup, sarama.AclOperationRead})
	}
	return out
}

// PlanAccess compares the cluster's ACLs with what the layout's principals
// need. ACLs that are not wanted are left alone: an administrator may have
// reasons. The cluster must have an authorizer.
func (k *Kafka) PlanAccess(ctx context.Context, l Layout) ([]Change, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	wanted := l.grants()
	if len(wanted) == 0 {
		return nil, nil
	}
	have, err := k.admin.ListAcls(sarama.AclFilter{ResourceType: sarama.AclResourceAny, ResourcePatternTypeFilter: sarama.AclPatternAny,
		Operation: sarama.AclOperationAny, PermissionType: sarama.AclPermissionAny})
	if err != nil {
		return nil, fmt.Errorf("list ACLs: %w", err)
	}
	there := map[grant]bool{}
	for _, r := range have {
		for _, a := range r.Acls {
			if a.PermissionType == sarama.AclPermissionAllow && a.Host == "*" {
				there[grant{a.Principal, r.ResourceType, r.ResourcePatternType, r.ResourceName, a.Operation}] = true
			}
		}
	}
	var changes []Change
	for _, g := range wanted {
		if !there[g] && !slices.ContainsFunc(changes, func(c Change) bool { return *c.grant == g }) {
			changes = append(changes, Change{Topic: g.name, What: "acl", Want: g.String(), grant: &g})
		}
	}
	return changes, nil
}

func (k *Kafka) allow(g grant) error {
	return k.admin.CreateACLs([]*sarama.ResourceAcls{{
		Resource: sarama.Resource{ResourceType: g.resource, ResourceName: g.name, ResourcePatternType: g.pattern},
		Acls:     []*sarama.Acl{{Principal: g.principal, Host: "*", Operation: g.operation, PermissionType: sarama.AclPermissionAllow}},
	}})
}
