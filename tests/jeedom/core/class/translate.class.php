<?php

class translate
{
    private static $language = null;

    private static $translations = [];

    public static function getLanguage()
    {
        if (self::$language === null) {
            self::$language = config::byKey('language', 'core', 'fr_FR');
        }
        return self::$language;
    }

    public static function setLanguage($_langage)
    {
        self::$language = $_langage;
    }

    public static function sentence($_content, $_name, $_backslash = false)
    {
        return self::exec('{{' . $_content . '}}', $_name, $_backslash);
    }

    /** What is between braces, translated by the plugin's file for the language if that has it. */
    public static function exec($_content, $_name = '', $_backslash = false)
    {
        if ($_content == '' || $_name == '') {
            return $_content;
        }
        $at = strpos($_name, 'plugins/');
        $name = $at === false ? $_name : substr($_name, $at);
        $texts = $at === false ? [] : self::texts(explode('/', $name)[1]);
        return preg_replace_callback('/{{(.*?)}}/s', static function (array $found) use ($texts, $name): string {
            $text = $texts[$name][$found[1]] ?? $texts[$name][str_replace("'", "\\'", $found[1])] ?? $texts['common'][$found[1]] ?? '';
            return $text === '' ? $found[1] : ltrim($text, '#');
        }, $_content);
    }

    private static function texts(string $plugin): array
    {
        $file = __DIR__ . '/../../plugins/' . $plugin . '/core/i18n/' . self::getLanguage() . '.json';
        if (!isset(self::$translations[$file])) {
            self::$translations[$file] = is_file($file) ? is_json(file_get_contents($file), []) : [];
        }
        return self::$translations[$file];
    }
}

function __($_content, $_name, $_backslash = false)
{
    return translate::sentence(str_replace("\\'", "'", $_content), $_name, $_backslash);
}
