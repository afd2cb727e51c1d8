//! Which functions give the same result for the same arguments and rows.

use std::collections::HashMap;

use crate::dialect::Dialect;

/// What a function is, as far as keeping its result goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FunctionKind {
    /// The same arguments give the same result.
    Scalar,
    /// The same rows give the same result: it makes one row of many.
    Aggregate,
    /// Rows that are the same give the same rows: it stands in `FROM`.
    Table,
    /// The same arguments give the same result, unless one of them says `now`
    /// or asks for the local time: SQLite's functions of date and time. Kept
    /// only with literals and parameters as arguments, since a column may hold
    /// such a word, too.
    Clock,
    /// Another result each time, or another one for each session: a query that
    /// calls it is refused. Unlike a function that is not on the list it writes no
    /// table.
    Volatile,
}

/// The functions that a query may call and yet be kept. Whatever is not on the
/// list is refused.
///
/// ```
/// use cacheops_sql::{Dialect, FunctionKind, Functions};
///
/// let functions = Functions::of(Dialect::Sqlite)
///     .with("slugify", FunctionKind::Scalar) // one of the application's own
///     .with("strftime", FunctionKind::Scalar); // no column here says 'now'
/// assert_eq!(functions.get("LOWER"), Some(FunctionKind::Scalar));
/// assert_eq!(functions.get("random"), Some(FunctionKind::Volatile));
/// assert_eq!(functions.get("another_one"), None);
/// ```
#[derive(Clone, Debug)]
pub struct Functions {
    kinds: HashMap<String, FunctionKind>,
}

impl Functions {
    /// The functions that a database comes with and that are known to be the
    /// same each time.
    #[must_use]
    pub fn of(dialect: Dialect) -> Self {
        let own: &[(FunctionKind, &str)] = match dialect {
            Dialect::Sqlite => SQLITE,
            Dialect::Postgres => POSTGRES,
            Dialect::MySql => MYSQL,
        };
        let mut kinds = HashMap::new();
        for (kind, names) in COMMON.iter().chain(own) {
            kinds.extend(names.split_ascii_whitespace().map(|name| (name.to_owned(), *kind)));
        }
        Functions { kinds }
    }

    /// Adds a function, or says what one is.
    #[must_use]
    pub fn with(mut self, name: &str, kind: FunctionKind) -> Self {
        self.kinds.insert(name.to_lowercase(), kind);
        self
    }

    /// What a function is; nothing for one that is not on the list.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<FunctionKind> {
        if name.bytes().any(|b| b.is_ascii_uppercase()) {
            return self.kinds.get(&name.to_lowercase()).copied();
        }
        self.kinds.get(name).copied()
    }
}

use FunctionKind::{Aggregate, Clock, Scalar, Table, Volatile};

const COMMON: &[(FunctionKind, &str)] = &[
    (
        Scalar,
        "abs acos asin atan atan2 ceil ceiling coalesce concat concat_ws cos degrees exp floor \
         left length ln log log10 lower lpad ltrim mod nullif pi position pow power radians repeat \
         replace reverse right round rpad rtrim sign sin sqrt substr substring tan trim upper \
         row_number rank dense_rank percent_rank cume_dist ntile lag lead first_value last_value \
         nth_value char_length character_length octet_length ascii",
    ),
    (
        Aggregate,
        "avg count max min sum stddev stddev_pop stddev_samp variance var_pop var_samp any_value",
    ),
];

const SQLITE: &[(FunctionKind, &str)] = &[
    (
        Scalar,
        "acosh asinh atanh char cosh format glob hex if ifnull iif instr json jsonb json_array \
         jsonb_array json_array_length json_error_position json_extract jsonb_extract json_insert \
         jsonb_insert json_object jsonb_object json_patch jsonb_patch json_pretty json_quote \
         json_remove jsonb_remove json_replace jsonb_replace json_set jsonb_set json_type \
         json_valid like likelihood likely log2 match printf quote regexp sinh soundex tanh trunc \
         typeof unhex unicode unlikely zeroblob bm25 highlight snippet matchinfo offsets \
         django_date_extract django_date_trunc django_datetime_cast_date \
         django_datetime_cast_time django_datetime_extract django_datetime_trunc \
         django_time_extract django_time_trunc django_time_diff django_timestamp_diff \
         django_format_dtdelta bitxor cot",
    ),
    (
        Aggregate,
        "group_concat json_group_array jsonb_group_array json_group_object jsonb_group_object \
         string_agg total median percentile percentile_cont percentile_disc",
    ),
    (Table, "json_each jsonb_each json_tree jsonb_tree generate_series"),
    (Clock, "date time datetime julianday unixepoch strftime timediff"),
    (
        Volatile,
        "changes last_insert_rowid random randomblob total_changes current_date current_time current_timestamp",
    ),
];

/// Without those whose result hangs on the clock (`age` of one argument), on
/// sequences or on what the session has locked. What hangs on its settings
/// (`to_char`, `date_trunc`) is told apart by [`Sql::session`](crate::Sql::session).
const POSTGRES: &[(FunctionKind, &str)] = &[
    (
        Scalar,
        "array_append array_cat array_dims array_length array_lower array_ndims array_position \
         array_positions array_prepend array_remove array_replace array_to_json array_to_string \
         array_upper bit_length btrim cardinality cbrt chr date_bin date_part date_trunc decode \
         div encode extract factorial format gcd greatest host initcap isfinite json_array_length \
         json_build_array json_build_object json_extract_path json_extract_path_text json_object \
         json_strip_nulls json_typeof jsonb_array_length jsonb_build_array jsonb_build_object \
         jsonb_extract_path jsonb_extract_path_text jsonb_insert jsonb_object jsonb_path_exists \
         jsonb_path_match jsonb_path_query_array jsonb_path_query_first jsonb_pretty jsonb_set \
         jsonb_strip_nulls jsonb_typeof justify_days justify_hours justify_interval lcm least \
         levenshtein lower_inc make_date make_interval make_time make_timestamp md5 network \
         normalize num_nonnulls num_nulls numnode overlay parse_ident phraseto_tsquery \
         plainto_tsquery quote_ident quote_literal quote_nullable regexp_count regexp_instr \
         regexp_like regexp_match regexp_replace regexp_split_to_array regexp_substr row_to_json \
         scale setweight sha224 sha256 sha384 sha512 similarity soundex split_part starts_with \
         string_to_array strip strpos text to_ascii to_char to_date to_hex to_json to_jsonb \
         to_number to_timestamp to_tsquery to_tsvector translate trim_array trim_scale trunc \
         ts_headline ts_rank ts_rank_cd unaccent upper_inc websearch_to_tsquery width_bucket \
         word_similarity",
    ),
    (
        Aggregate,
        "array_agg bit_and bit_or bool_and bool_or corr covar_pop covar_samp every grouping \
         json_agg json_object_agg jsonb_agg jsonb_object_agg mode percentile_cont \
         percentile_disc range_agg regr_count string_agg xmlagg",
    ),
    (
        Table,
        "generate_series generate_subscripts json_array_elements json_array_elements_text \
         json_each json_each_text json_object_keys jsonb_array_elements \
         jsonb_array_elements_text jsonb_each jsonb_each_text jsonb_object_keys jsonb_path_query \
         jsonb_to_recordset json_to_recordset regexp_matches regexp_split_to_table \
         string_to_table unnest",
    ),
    (
        Volatile,
        "age clock_timestamp currval current_date current_setting current_time \
         current_timestamp current_user gen_random_uuid lastval localtime localtimestamp nextval \
         now pg_advisory_xact_lock pg_sleep random session_user setseed setval \
         statement_timestamp timeofday transaction_timestamp txid_current user uuid_generate_v4 \
         uuidv4 uuidv7 version",
    ),
];

const MYSQL: &[(FunctionKind, &str)] = &[
    (
        Scalar,
        "adddate addtime bin bit_count bit_length char concat conv convert cot crc32 date \
         date_add date_format date_sub datediff day dayname dayofmonth dayofweek dayofyear elt \
         export_set extract field find_in_set format from_base64 from_days greatest hex hour if \
         ifnull inet6_aton inet6_ntoa inet_aton inet_ntoa insert instr isnull json_array \
         json_contains json_contains_path json_depth json_extract json_keys json_length \
         json_merge_patch json_merge_preserve json_object json_pretty json_quote json_search \
         json_set json_type json_unquote json_valid json_value last_day lcase least locate log2 \
         make_set makedate maketime md5 microsecond mid minute month monthname oct ord \
         period_add period_diff quarter quote regexp_instr regexp_like regexp_replace \
         regexp_substr sec_to_time second sha1 sha2 soundex space str_to_date strcmp subdate \
         substring_index subtime time time_format time_to_sec timediff timestampadd \
         timestampdiff to_base64 to_days to_seconds truncate ucase unhex week weekday \
         weekofyear weight_string year yearweek bin_to_uuid uuid_to_bin",
    ),
    (Aggregate, "bit_and bit_or bit_xor group_concat json_arrayagg json_objectagg std grouping"),
    (Table, "json_table"),
    (
        Volatile,
        "benchmark connection_id curdate current_date current_role current_time \
         current_timestamp current_user curtime database found_rows get_lock last_insert_id \
         localtime localtimestamp now rand release_lock row_count schema session_user sleep \
         sysdate system_user unix_timestamp user utc_date utc_time utc_timestamp uuid \
         uuid_short version",
    ),
];
