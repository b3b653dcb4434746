<?php

class jeedom
{
    public static function getApiKey($_plugin = 'core', $_mode = 'enable')
    {
        if (config::byKey('api', $_plugin) == '') {
            config::save('api', config::genKey(), $_plugin);
            config::save('api::' . $_plugin . '::mode', $_mode, 'core');
        }
        if (config::byKey('api::' . $_plugin . '::mode', 'core', 'enable') == 'disable' && $_mode != 'disable') {
            config::save('api::' . $_plugin . '::mode', $_mode, 'core');
        }
        return config::byKey('api', $_plugin);
    }

    /** The key of a person who may do anything is taken for every plugin, too. */
    public static function apiAccess($_apikey = '', $_plugin = 'core')
    {
        if (trim($_apikey) == '' || strlen($_apikey) < 16) {
            return false;
        }
        if ($_apikey === config::byKey('test::userHash')) {
            return true;
        }
        $mode = config::byKey('api::' . $_plugin . '::mode', 'core', 'enable');
        if ($mode == 'disable' || ($mode == 'localhost' && getClientIp() != '127.0.0.1')) {
            return false;
        }
        return self::getApiKey($_plugin) === $_apikey;
    }

    public static function getTmpFolder($_plugin = '')
    {
        $folder = __DIR__ . '/../../tmp' . ($_plugin === '' ? '' : '/' . $_plugin);
        if (!is_dir($folder)) {
            mkdir($folder, 0774, true);
        }
        return (string) realpath($folder);
    }

    public static function isStarted()
    {
        return file_exists(self::getTmpFolder() . '/started');
    }

    public static function versionAlias($_version, $_lightMode = true)
    {
        return ['mview' => 'mobile', 'dview' => 'dashboard', 'dplan' => 'dashboard', 'plan' => 'dashboard', 'view' => 'dashboard'][$_version] ?? $_version;
    }

    /** Of the core's own settings, those that the plugin's page reads. */
    public static function getConfiguration($_key = '', $_default = false)
    {
        return $_key === 'eqLogic:category' ? ['security' => ['name' => 'Sécurité', 'icon' => 'fas fa-lock']] : '';
    }

    public static function event($_event, $_forceSyncMode = false, $_options = null)
    {
    }
}
