<?php

/**
 * Saving, removing and reading objects, with the hooks in the order of the real core, and the statements that callers send.
 *
 * Texts are the same as in utf8mb4_unicode_ci: whatever their case and accents.
 */
class DB
{
    public const FETCH_TYPE_ROW = 0;
    public const FETCH_TYPE_ALL = 1;

    private const INTEGERS = ['id', 'eqLogic_id', 'object_id', 'isVisible', 'isEnable', 'timeout', 'order', 'occurrences'];

    private const UNIQUE = ['cmd' => ['eqLogic_id', 'name'], 'eqLogic' => ['name', 'object_id'], 'config' => ['plugin', 'key']];

    /** Texts that are longer are refused, as in MariaDB's strict mode. */
    private const LENGTHS = [
        'cmd' => ['name' => 127, 'logicalId' => 1023, 'unite' => 45, 'generic_type' => 255, 'value' => 255],
        'eqLogic' => ['name' => 127, 'logicalId' => 127],
        'event' => ['name' => 255, 'option' => 8192],
        'message' => ['logicalId' => 127, 'message' => 65535],
        'config' => ['plugin' => 127, 'key' => 127],
    ];

    private static $last = 0;

    /** How many statements this process sent. */
    public static int $statements = 0;

    // ---- Statements

    public static function &Prepare($_query, $_params, $_fetchType = self::FETCH_TYPE_ROW, $_fetch_param = PDO::FETCH_ASSOC, $_fetch_opt = null)
    {
        self::$statements++;
        $query = trim(preg_replace('/\s+/', ' ', str_replace('`', '', $_query)), ' ;');
        $result = null;
        foreach ($_params as $name => $value) {
            if ($value !== null && preg_match('/:' . $name . '\b/', $query) !== 1) {
                throw new Exception('[MySQL] Error code : HY093 (0). Invalid parameter number: ' . $name);
            }
        }
        if (preg_match('/^SELECT (.+?) FROM (\w+)( WHERE (.+?))?( ORDER BY ([\w, ]+))?$/', $query, $found) === 1) {
            $rows = self::select($found[2], array_map('trim', explode(',', $found[1])), $found[4] ?? '', $_params, $found[6] ?? '');
            if ($_fetch_param === PDO::FETCH_CLASS) {
                $rows = self::objects($rows, $_fetch_opt);
            }
            $result = (int) $_fetchType === self::FETCH_TYPE_ALL ? $rows : ($rows[0] ?? false);
            return $result;
        }
        if (preg_match('/^UPDATE (\w+) SET (.+?) WHERE (.+)$/', $query, $found) === 1) {
            self::update($found[1], $found[2], $found[3], $_params);
            return $result;
        }
        if (preg_match('/^DELETE FROM (\w+)( WHERE (.+))?$/', $query, $found) === 1) {
            $where = $found[3] ?? '';
            journal::change($found[1], static function (array $rows) use ($where, $_params): array {
                return array_fill_keys(array_keys(self::matching($rows, $where, $_params)), null);
            });
            return $result;
        }
        throw new Exception('[MySQL] fake core: unknown statement: ' . $query);
    }

    /**
     * @param string[] $fields
     * @param array<string, mixed> $params
     * @return array<int, array<string, mixed>>
     */
    private static function select(string $table, array $fields, string $where, array $params, string $order): array
    {
        $rows = array_values(self::matching(journal::rows($table), $where, $params));
        foreach (array_reverse($order === '' ? [] : explode(',', $order)) as $field) {
            $field = trim($field);
            usort($rows, static function (array $a, array $b) use ($field): int {
                return self::folded($a[$field] ?? null) <=> self::folded($b[$field] ?? null);
            });
        }
        return array_map(static function (array $row) use ($fields): array {
            $picked = [];
            foreach ($fields as $field) {
                $picked[$field] = self::typed($field, $row[$field] ?? null);
            }
            return $picked;
        }, $rows);
    }

    /** From PHP 8.1 on, integers come as integers. */
    private static function typed(string $field, $value)
    {
        if ($value === null || !in_array($field, self::INTEGERS, true)) {
            return $value === null ? null : (string) $value;
        }
        return PHP_VERSION_ID >= 80100 ? (int) $value : (string) $value;
    }

    /**
     * @param array<int|string, array<string, mixed>> $rows
     * @param array<string, mixed> $params
     * @return array<int|string, array<string, mixed>>
     */
    private static function matching(array $rows, string $where, array $params): array
    {
        if ($where === 'id = :id' || $where === 'id=:id') {
            return array_intersect_key($rows, [(string) self::parameter($params, 'id') => true]);
        }
        return array_filter($rows, self::where($where, $params));
    }

    /**
     * @param array<string, mixed> $params
     * @return callable(array<string, mixed>): bool
     */
    private static function where(string $where, array $params): callable
    {
        $tests = [];
        foreach ($where === '' ? [] : preg_split('/ AND /', $where) as $part) {
            $part = trim($part);
            if (preg_match('/^(\w+) ?= ?(:\w+|\d+)$/', $part, $found) === 1) {
                $wanted = $found[2][0] === ':' ? self::parameter($params, substr($found[2], 1)) : $found[2];
                $tests[] = [$found[1], [$wanted]];
            } elseif (preg_match('/^(\w+) IN \((.*)\)$/', $part, $found) === 1) {
                $tests[] = [$found[1], array_map(static function (string $text): string {
                    return trim($text, " '");
                }, explode(',', $found[2]))];
            } elseif (preg_match("/^\((\w+) IS NULL OR (\w+) = ''\)$/", $part, $found) === 1 && $found[1] === $found[2]) {
                $tests[] = [$found[1], ['', null]];
            } else {
                throw new Exception('[MySQL] fake core: unknown condition: ' . $part);
            }
        }
        return static function (array $row) use ($tests): bool {
            foreach ($tests as [$field, $wanted]) {
                $same = false;
                foreach ($wanted as $one) {
                    $same = $same || ($one === null ? !isset($row[$field]) : isset($row[$field]) && self::folded($row[$field]) === self::folded($one));
                }
                if (!$same) {
                    return false;
                }
            }
            return true;
        };
    }

    /**
     * @param array<string, mixed> $params
     */
    private static function parameter(array $params, string $name)
    {
        if (!array_key_exists($name, $params)) {
            throw new Exception('[MySQL] Error code : HY093 (0). Invalid parameter number: ' . $name);
        }
        // Nothing is equal to NULL.
        return $params[$name] === null ? "\0" : $params[$name];
    }

    private static function update(string $table, string $set, string $where, array $params): void
    {
        $values = [];
        foreach (explode(',', $set) as $part) {
            if (preg_match('/^(\w+) = :(\w+)$/', trim($part), $found) !== 1) {
                throw new Exception('[MySQL] fake core: unknown assignment: ' . $part);
            }
            self::parameter($params, $found[2]);
            $values[$found[1]] = $params[$found[2]];
        }
        journal::change($table, static function (array $rows) use ($table, $where, $params, $values): array {
            $changed = [];
            foreach (self::matching($rows, $where, $params) as $key => $row) {
                $changed[$key] = self::stored($table, $values + $row);
                self::refuseDuplicate($table, $rows, $changed[$key], $key);
            }
            return $changed;
        });
    }

    /**
     * @param array<int, array<string, mixed>> $rows
     * @return object[]
     */
    private static function objects(array $rows, string $class): array
    {
        return array_map(static function (array $row) use ($class) {
            // As PDO does it: properties first, then the constructor.
            $reflection = new ReflectionClass($class);
            $object = $reflection->newInstanceWithoutConstructor();
            foreach ($row as $field => $value) {
                self::property($reflection, $field)->setValue($object, $value);
            }
            if (method_exists($object, 'decrypt')) {
                $object->decrypt();
                if (method_exists($object, 'setChanged')) {
                    $object->setChanged(false);
                }
            }
            return $object;
        }, $rows);
    }

    private static function property(ReflectionClass $class, string $name): ReflectionProperty
    {
        $property = $class->getProperty($name);
        $property->setAccessible(true);
        return $property;
    }

    // ---- Objects

    public static function save($object, $_direct = false, $_replace = false)
    {
        if (!$_direct && method_exists($object, 'preSave')) {
            $object->preSave();
        }
        if (!$object->getId()) {
            $object->setId(null);
            self::hook($object, 'preInsert', $_direct);
            self::hook($object, 'encrypt', false);
            self::insert($object->getTableName(), self::values($object));
            $object->setId((string) self::$last);
            self::hook($object, 'decrypt', false);
            self::hook($object, 'postInsert', $_direct);
        } else {
            self::hook($object, 'preUpdate', $_direct);
            if ($object->getChanged()) {
                self::hook($object, 'encrypt', false);
                $values = self::values($object);
                $set = implode(', ', array_map(static function (string $field): string {
                    return $field . ' = :' . $field;
                }, array_keys($values)));
                self::Prepare('UPDATE ' . $object->getTableName() . ' SET ' . $set . ' WHERE id = :id', $values);
            }
            self::hook($object, 'decrypt', false);
            self::hook($object, 'postUpdate', $_direct);
        }
        self::hook($object, 'postSave', $_direct);
        $object->setChanged(false);
        return true;
    }

    public static function remove($object)
    {
        if (method_exists($object, 'preRemove') && $object->preRemove() === false) {
            return false;
        }
        self::Prepare('DELETE FROM ' . $object->getTableName() . ' WHERE id = :id', ['id' => $object->getId()]);
        $object->setId(null);
        self::hook($object, 'postRemove', false);
        return true;
    }

    private static function hook($object, string $name, bool $direct): void
    {
        if (!$direct && method_exists($object, $name)) {
            $object->$name();
        }
    }

    /** @return array<string, mixed> what a row of the object has */
    private static function values($object): array
    {
        $reflection = new ReflectionClass($object);
        $values = [];
        foreach (self::fields($object->getTableName()) as $field) {
            $method = 'get' . ucfirst($field);
            $value = method_exists($object, $method) ? $object->$method() : self::property($reflection, $field)->getValue($object);
            $values[$field] = is_array($value) || is_object($value) ? json_encode($value, JSON_UNESCAPED_UNICODE) : $value;
        }
        return $values;
    }

    /** @return string[] */
    private static function fields(string $class): array
    {
        $fields = [];
        foreach ((new ReflectionClass($class))->getProperties() as $property) {
            if ($property->getName()[0] !== '_') {
                $fields[] = $property->getName();
            }
        }
        return $fields;
    }

    public static function buildField($_class, $_prefix = '')
    {
        return implode(', ', array_map(static function (string $field) use ($_prefix): string {
            return ($_prefix === '' ? '' : '`' . $_prefix . '`.') . '`' . $field . '`';
        }, self::fields($_class)));
    }

    public static function insert(string $table, array $values): void
    {
        self::$statements++;
        journal::change($table, static function (array $rows) use ($table, $values): array {
            // Like AUTO_INCREMENT, a number is not used twice.
            $next = 1 + (int) (journal::rows('next')[$table]['id'] ?? 0);
            self::$last = isset($values['id']) ? (int) $values['id'] : $next;
            $row = self::stored($table, ['id' => self::$last] + $values);
            self::refuseDuplicate($table, $rows, $row, self::$last);
            return [self::$last => $row];
        });
        journal::change('next', static function () use ($table): array {
            return [$table => ['id' => self::$last]];
        });
    }

    /** What a column makes of a value. */
    private static function stored(string $table, array $row): array
    {
        foreach ($row as $field => $value) {
            if (in_array($field, self::INTEGERS, true)) {
                if ($value !== null && !is_numeric($value) && !is_bool($value)) {
                    throw new Exception("[MySQL] Error code : HY000 (1366). Incorrect integer value: '" . $value . "' for column " . $field);
                }
                $row[$field] = $value === null ? null : (int) $value;
            } elseif (is_string($value) && preg_match_all('/./su', $value) > (self::LENGTHS[$table][$field] ?? PHP_INT_MAX)) {
                throw new Exception("[MySQL] Error code : 22001 (1406). Data too long for column '" . $field . "'");
            }
        }
        return $row;
    }

    /** @param int|string $own */
    private static function refuseDuplicate(string $table, array $rows, array $new, $own): void
    {
        $unique = array_flip(self::UNIQUE[$table] ?? []);
        $key = array_map([self::class, 'folded'], array_intersect_key($new, $unique));
        // Two NULLs are different.
        if ($unique === [] || in_array(null, $key, true)) {
            return;
        }
        foreach ($rows as $other => $row) {
            if (isset($new['eqLogic_id']) && (int) $row['eqLogic_id'] !== (int) $new['eqLogic_id']) {
                continue; // Only because the next lines take their time.
            }
            if ((string) $other !== (string) $own && array_map([self::class, 'folded'], array_intersect_key($row, $unique)) == $key) {
                throw new Exception("[MySQL] Error code : 23000 (1062). Duplicate entry '" . implode('-', $key) . "' for key 'unique'");
            }
        }
    }

    private static function folded($value)
    {
        if ($value === null || is_int($value) || ctype_digit((string) $value)) {
            return $value === null ? null : (int) $value;
        }
        return strtolower(rtrim(strtr((string) $value, [
            'à' => 'a', 'â' => 'a', 'ç' => 'c', 'é' => 'e', 'è' => 'e', 'ê' => 'e', 'ë' => 'e', 'î' => 'i', 'ï' => 'i', 'ô' => 'o', 'ù' => 'u', 'û' => 'u',
            'À' => 'a', 'Â' => 'a', 'Ç' => 'c', 'É' => 'e', 'È' => 'e', 'Ê' => 'e', 'Ë' => 'e', 'Î' => 'i', 'Ï' => 'i', 'Ô' => 'o', 'Ù' => 'u', 'Û' => 'u',
        ])));
    }

    // ---- The connection

    public static function getLastInsertId()
    {
        return (string) self::$last;
    }

    public static function getConnection()
    {
        return new class {
            public function inTransaction(): bool
            {
                return journal::inTransaction();
            }
        };
    }

    public static function beginTransaction()
    {
        journal::begin();
    }

    public static function commit()
    {
        journal::commit();
    }

    public static function rollBack()
    {
        journal::rollBack();
    }
}
