<?php

class config
{
    /** As core/config/default.config.ini has them. */
    private const DEFAULTS = [
        'language' => 'fr_FR', 'log::level' => 400, 'internalProtocol' => 'http://', 'internalAddr' => '127.0.0.1',
        'numberOfTryBeforeEqLogicDisable' => 3, 'hardware_name' => 'diy',
    ];

    private static $cache = [];

    public static function save($_key, $_value, $_plugin = 'core')
    {
        $class = $_plugin === 'core' ? 'config' : $_plugin;
        if (is_object($_value) || is_array($_value)) {
            $_value = json_encode($_value, JSON_UNESCAPED_UNICODE);
        }
        unset(self::$cache[$_plugin . '::' . $_key]);
        $function = 'preConfig_' . str_replace(['::', ':', '-'], '_', $_key);
        if (method_exists($class, $function)) {
            $_value = $class::$function($_value);
        }
        if ($_key === 'api') {
            $_value = utils::encrypt($_value);
        }
        $id = $_plugin . '::' . $_key;
        journal::change('config', static function () use ($id, $_key, $_value, $_plugin): array {
            return [$id => ['plugin' => $_plugin, 'key' => $_key, 'value' => is_bool($_value) ? (int) $_value : $_value]];
        });
        $function = 'postConfig_' . str_replace(['::', ':'], '_', $_key);
        if (method_exists($class, $function)) {
            $class::$function($_value);
        }
        return true;
    }

    public static function remove(string $_key, string $_plugin = 'core')
    {
        journal::change('config', static function (array $rows) use ($_key, $_plugin): array {
            $gone = [];
            foreach ($rows as $id => $row) {
                if ($row['plugin'] === $_plugin && ($row['key'] === $_key || ($_key === '*' && $_plugin !== 'core'))) {
                    $gone[$id] = null;
                }
            }
            return $gone;
        });
        foreach (array_keys(self::$cache) as $known) {
            if ($known === $_plugin . '::' . $_key || ($_key === '*' && strpos($known, $_plugin . '::') === 0)) {
                unset(self::$cache[$known]);
            }
        }
        return true;
    }

    /** A value is remembered for the life of the process, a default too, as in the real core. */
    public static function byKey($_key, $_plugin = 'core', $_default = '', $_forceFresh = false)
    {
        $id = $_plugin . '::' . $_key;
        if (!$_forceFresh && isset(self::$cache[$id])) {
            return self::$cache[$id];
        }
        $value = (string) (journal::rows('config')[$id]['value'] ?? '');
        if ($value !== '') {
            $value = $_key === 'api' ? utils::decrypt($value) : $value;
            self::$cache[$id] = is_json($value, $value);
        } elseif ($_plugin === 'core' && isset(self::DEFAULTS[$_key])) {
            self::$cache[$id] = (string) self::DEFAULTS[$_key];
        } elseif ($_default !== '') {
            self::$cache[$id] = $_default;
        }
        return self::$cache[$id] ?? '';
    }

    public static function genKey($_car = 64)
    {
        return substr(bin2hex(random_bytes($_car)), 0, $_car);
    }

    /** For the tests: as a process that starts now. */
    public static function forget(): void
    {
        self::$cache = [];
    }
}
