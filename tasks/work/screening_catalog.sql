-- Everything in a database that runs by itself, or lets others in: kind, identity, definition,
-- whether it reaches nothing outside PostgreSQL's own harmless functions, and how to remove it.
-- Run with search_path = pg_catalog, so that names in definitions are qualified. Parameter:
-- harmless, names of PostgreSQL's functions that are not immutable and harmless all the same.
WITH schemas AS (
    SELECT oid, nspname, nspowner, nspacl FROM pg_namespace
     WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
), members AS (
    SELECT classid, objid FROM pg_depend WHERE deptype = 'e'
), relations AS (
    SELECT c.*, c.oid::regclass::text AS name FROM pg_class c JOIN schemas s ON s.oid = c.relnamespace
     WHERE NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_class'::regclass AND m.objid = c.oid)
), trees (classid, objid, tree) AS (
    SELECT 'pg_attrdef'::regclass, oid, adbin::text FROM pg_attrdef
    UNION ALL
    SELECT 'pg_type'::regclass, oid, typdefaultbin::text FROM pg_type WHERE typdefaultbin IS NOT NULL
    UNION ALL
    SELECT 'pg_constraint'::regclass, oid, conbin::text FROM pg_constraint WHERE conbin IS NOT NULL
    UNION ALL
    SELECT 'pg_index'::regclass, indexrelid, concat(indexprs::text, indpred::text) FROM pg_index
     WHERE indexprs IS NOT NULL OR indpred IS NOT NULL
    UNION ALL
    SELECT 'pg_statistic_ext'::regclass, oid, stxexprs::text FROM pg_statistic_ext
     WHERE stxexprs IS NOT NULL
    UNION ALL
    SELECT 'pg_partitioned_table'::regclass, partrelid, partexprs::text FROM pg_partitioned_table
     WHERE partexprs IS NOT NULL
), calls AS (
    SELECT t.classid, t.objid, found[1]::oid AS routine
      FROM trees t, regexp_matches(t.tree, ':(?:op|hash|neg)?funcid (\d+)', 'g') AS found
    UNION
    SELECT t.classid, t.objid, o.oprcode::oid
      FROM trees t, regexp_matches(t.tree, ':opno (\d+)', 'g') AS found
      JOIN pg_operator o ON o.oid = found[1]::oid
), reaching AS (
    SELECT DISTINCT c.classid, c.objid FROM calls c LEFT JOIN pg_proc p ON p.oid = c.routine
     WHERE c.routine <> 0
       AND NOT coalesce(
           (p.oid < 16384 AND p.pronamespace = 'pg_catalog'::regnamespace
               AND (p.provolatile = 'i' OR p.proname = ANY(%(harmless)s)))
           OR EXISTS (
               SELECT FROM members m WHERE m.classid = 'pg_proc'::regclass AND m.objid = p.oid),
           false)
), others (classid, objid) AS (
    SELECT 'pg_operator'::regclass, oid FROM pg_operator
    UNION ALL SELECT 'pg_opclass'::regclass, oid FROM pg_opclass
    UNION ALL SELECT 'pg_opfamily'::regclass, oid FROM pg_opfamily
    UNION ALL SELECT 'pg_cast'::regclass, oid FROM pg_cast
    UNION ALL SELECT 'pg_conversion'::regclass, oid FROM pg_conversion
    UNION ALL SELECT 'pg_ts_config'::regclass, oid FROM pg_ts_config
    UNION ALL SELECT 'pg_ts_dict'::regclass, oid FROM pg_ts_dict
    UNION ALL SELECT 'pg_ts_parser'::regclass, oid FROM pg_ts_parser
    UNION ALL SELECT 'pg_ts_template'::regclass, oid FROM pg_ts_template
    UNION ALL SELECT 'pg_language'::regclass, oid FROM pg_language
    UNION ALL SELECT 'pg_transform'::regclass, oid FROM pg_transform
    UNION ALL SELECT 'pg_am'::regclass, oid FROM pg_am
    UNION ALL SELECT 'pg_event_trigger'::regclass, oid FROM pg_event_trigger
    UNION ALL SELECT 'pg_publication'::regclass, oid FROM pg_publication
    UNION ALL SELECT 'pg_foreign_data_wrapper'::regclass, oid FROM pg_foreign_data_wrapper
    UNION ALL SELECT 'pg_foreign_server'::regclass, oid FROM pg_foreign_server
    UNION ALL SELECT 'pg_default_acl'::regclass, oid FROM pg_default_acl
), grants (privilege, grantee, grantor, grantable, what, owner) AS (
    SELECT g.privilege_type, g.grantee, g.grantor, g.is_grantable,
           CASE r.relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END || r.name, r.relowner
      FROM relations r, aclexplode(r.relacl) g
    UNION ALL
    SELECT format('%%s (%%I)', g.privilege_type, a.attname), g.grantee, g.grantor, g.is_grantable,
           'TABLE ' || r.name, r.relowner
      FROM relations r JOIN pg_attribute a ON a.attrelid = r.oid, aclexplode(a.attacl) g
    UNION ALL
    SELECT g.privilege_type, g.grantee, g.grantor, g.is_grantable,
           format('SCHEMA %%I', s.nspname), s.nspowner
      FROM schemas s, aclexplode(s.nspacl) g
    UNION ALL
    SELECT g.privilege_type, g.grantee, g.grantor, g.is_grantable,
           format('ROUTINE %%s', p.oid::regprocedure), p.proowner
      FROM pg_proc p JOIN schemas s ON s.oid = p.pronamespace,
           aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) g
     -- everybody may run functions, unless somebody said otherwise: that counts where they run
     -- with their owner's rights
     WHERE g.grantee <> 0 OR p.prosecdef
    UNION ALL
    SELECT g.privilege_type, g.grantee, g.grantor, g.is_grantable,
           format('TYPE %%s', format_type(t.oid, NULL)), t.typowner
      FROM pg_type t JOIN schemas s ON s.oid = t.typnamespace, aclexplode(t.typacl) g
     WHERE g.grantee <> 0
    UNION ALL
    SELECT g.privilege_type, g.grantee, g.grantor, g.is_grantable,
           format('LARGE OBJECT %%s', l.oid), l.lomowner
      FROM pg_largeobject_metadata l, aclexplode(l.lomacl) g
)
SELECT CASE p.prokind WHEN 'a' THEN 'aggregate' WHEN 'p' THEN 'procedure' ELSE 'function' END AS kind,
       p.oid::regprocedure::text AS identity,
       CASE p.prokind WHEN 'a' THEN '' ELSE pg_get_functiondef(p.oid) END AS definition,
       false AS safe,
       format('DROP %%s %%I.%%I(%%s) CASCADE',
              CASE p.prokind WHEN 'a' THEN 'AGGREGATE' ELSE 'ROUTINE' END, s.nspname, p.proname,
              pg_get_function_identity_arguments(p.oid)) AS removal
  FROM pg_proc p JOIN schemas s ON s.oid = p.pronamespace
 WHERE NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_proc'::regclass AND m.objid = p.oid)
   AND NOT EXISTS (  -- what a range type brings with it
       SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid
          AND d.refclassid = 'pg_type'::regclass AND d.deptype = 'i')
UNION ALL
SELECT 'trigger', format('%%I ON %%s', t.tgname, r.name),
       concat(pg_get_triggerdef(t.oid), ' ', t.tgenabled), false,
       format('DROP TRIGGER %%I ON %%s', t.tgname, r.name)
  FROM pg_trigger t JOIN relations r ON r.oid = t.tgrelid
 WHERE NOT t.tgisinternal AND t.tgparentid = 0
UNION ALL
SELECT 'rule', format('%%I ON %%s', w.rulename, r.name),
       concat(pg_get_ruledef(w.oid), ' ', w.ev_enabled), false,
       format('DROP RULE %%I ON %%s', w.rulename, r.name)
  FROM pg_rewrite w JOIN relations r ON r.oid = w.ev_class
 WHERE w.rulename <> '_RETURN'
UNION ALL
SELECT CASE r.relkind WHEN 'm' THEN 'materialized view' ELSE 'view' END, r.name,
       concat(pg_get_viewdef(r.oid), ' ', r.reloptions), false,
       format('DROP %%s %%s CASCADE', CASE r.relkind WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'VIEW' END,
              r.name)
  FROM relations r WHERE r.relkind IN ('v', 'm')
UNION ALL
SELECT 'foreign table', r.name, '', false, format('DROP FOREIGN TABLE %%s CASCADE', r.name)
  FROM relations r WHERE r.relkind = 'f'
UNION ALL
SELECT 'row policy', format('%%I ON %%s', p.polname, r.name),
       concat_ws(' ', p.polcmd, p.polpermissive,
                 (SELECT string_agg(CASE u WHEN 0 THEN 'PUBLIC' ELSE u::regrole::text END, ',' ORDER BY u)
                    FROM unnest(p.polroles) u),
                 pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)),
       false, format('DROP POLICY %%I ON %%s', p.polname, r.name)
  FROM pg_policy p JOIN relations r ON r.oid = p.polrelid
UNION ALL
SELECT 'row security', r.name, concat_ws(' ', r.relrowsecurity, r.relforcerowsecurity), false,
       format('ALTER TABLE %%s DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY', r.name)
  FROM relations r WHERE r.relrowsecurity OR r.relforcerowsecurity
UNION ALL
SELECT 'default', format('%%s.%%I', r.name, a.attname),
       concat(a.attgenerated, pg_get_expr(d.adbin, d.adrelid)),
       NOT EXISTS (
           SELECT FROM reaching u WHERE u.classid = 'pg_attrdef'::regclass AND u.objid = d.oid),
       format(CASE a.attgenerated
              WHEN 's' THEN 'ALTER TABLE %%s ALTER COLUMN %%I DROP EXPRESSION'
              WHEN 'v' THEN 'ALTER TABLE %%s DROP COLUMN %%I CASCADE'
              ELSE 'ALTER TABLE %%s ALTER COLUMN %%I DROP DEFAULT' END, r.name, a.attname)
  FROM pg_attrdef d JOIN relations r ON r.oid = d.adrelid
  JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
UNION ALL
SELECT 'domain default', format_type(t.oid, NULL), pg_get_expr(t.typdefaultbin, 0),
       NOT EXISTS (
           SELECT FROM reaching u WHERE u.classid = 'pg_type'::regclass AND u.objid = t.oid),
       format('ALTER DOMAIN %%s DROP DEFAULT', format_type(t.oid, NULL))
  FROM pg_type t JOIN schemas s ON s.oid = t.typnamespace
 WHERE t.typtype = 'd' AND t.typdefaultbin IS NOT NULL
UNION ALL
SELECT 'table', r.name, '', true, '' FROM relations r WHERE r.relkind IN ('r', 'p')
UNION ALL  -- "$user" comes first in every search_path: a schema of that name stands before public
SELECT 'schema', quote_ident(s.nspname), '', false, format('DROP SCHEMA %%I CASCADE', s.nspname)
  FROM schemas s JOIN pg_roles o ON o.rolname = s.nspname
UNION ALL
SELECT 'inheritance', format('%%s ON %%s', c.name, p.name), '', false,
       format('ALTER TABLE %%s NO INHERIT %%s', c.name, p.name)
  FROM pg_inherits h JOIN relations c ON c.oid = h.inhrelid JOIN relations p ON p.oid = h.inhparent
 WHERE NOT c.relispartition AND c.relkind IN ('r', 'p')
UNION ALL
SELECT 'foreign key', format('%%I ON %%s', c.conname, r.name), pg_get_constraintdef(c.oid),
       c.confdeltype IN ('a', 'r') AND c.confupdtype IN ('a', 'r'),
       format('ALTER TABLE %%s DROP CONSTRAINT %%I CASCADE', r.name, c.conname)
  FROM pg_constraint c JOIN relations r ON r.oid = c.conrelid
 WHERE c.contype = 'f' AND c.coninhcount = 0
UNION ALL
SELECT 'check', format('%%I ON %%s', c.conname, coalesce(r.name, format_type(c.contypid, NULL))),
       pg_get_constraintdef(c.oid),
       NOT EXISTS (
           SELECT FROM reaching u WHERE u.classid = 'pg_constraint'::regclass AND u.objid = c.oid),
       format('ALTER %%s DROP CONSTRAINT %%I CASCADE',
              coalesce('TABLE ' || r.name, 'DOMAIN ' || format_type(c.contypid, NULL)), c.conname)
  FROM pg_constraint c LEFT JOIN relations r ON r.oid = c.conrelid
  JOIN schemas s ON s.oid = c.connamespace
 WHERE c.contype = 'c' AND c.coninhcount = 0
UNION ALL
SELECT 'index', r.name, pg_get_indexdef(r.oid),
       NOT EXISTS (
           SELECT FROM reaching u WHERE u.classid = 'pg_index'::regclass AND u.objid = r.oid),
       coalesce((SELECT format('ALTER TABLE %%s DROP CONSTRAINT %%I CASCADE', c.conrelid::regclass,
                               c.conname)
                   FROM pg_constraint c WHERE c.conindid = r.oid AND c.contype IN ('p', 'u', 'x')
                  LIMIT 1),
                format('DROP INDEX %%s CASCADE', r.name))
  FROM relations r JOIN pg_index i ON i.indexrelid = r.oid
UNION ALL
SELECT 'statistics', format('%%I.%%I', s.nspname, x.stxname), pg_get_statisticsobjdef(x.oid),
       NOT EXISTS (
           SELECT FROM reaching u WHERE u.classid = 'pg_statistic_ext'::regclass AND u.objid = x.oid),
       format('DROP STATISTICS %%I.%%I', s.nspname, x.stxname)
  FROM pg_statistic_ext x JOIN schemas s ON s.oid = x.stxnamespace
UNION ALL
SELECT 'partition key', r.name, pg_get_partkeydef(r.oid), false, ''
  FROM relations r JOIN reaching u ON u.classid = 'pg_partitioned_table'::regclass AND u.objid = r.oid
UNION ALL
SELECT 'unlogged storage', r.name, '', false,
       format('ALTER %%s %%s SET LOGGED', CASE r.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, r.name)
  FROM relations r
 WHERE r.relpersistence = 'u' AND (r.relkind = 'r' OR r.relkind = 'S' AND NOT EXISTS (
       SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = r.oid
          AND d.deptype IN ('a', 'i')))
UNION ALL
SELECT i.type, i.identity, '', false,
       CASE WHEN i.type = 'default acl' THEN ''
            ELSE format('DROP %%s %%s CASCADE', upper(i.type), i.identity) END
  FROM others o, pg_identify_object(o.classid, o.objid, 0) i
 WHERE o.objid >= 16384
   AND NOT EXISTS (SELECT FROM members m WHERE m.classid = o.classid AND m.objid = o.objid)
UNION ALL
SELECT 'grant',
       format('%%s ON %%s TO %%s%%s', g.privilege, g.what,
              CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE g.grantee::regrole::text END,
              CASE WHEN g.grantable THEN ' WITH GRANT OPTION' ELSE '' END),
       '', g.grantee = 0 AND g.privilege = 'USAGE' AND g.what = 'SCHEMA public',
       format('REVOKE %%s ON %%s FROM %%s CASCADE', g.privilege, g.what,
              CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE g.grantee::regrole::text END)
  FROM grants g
 WHERE g.grantee <> g.owner
